"""All checks of a trial: in which order, under which names, and what they come to."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Sequence

from pytest_goat.checks.base import CheckContext, CheckResult
from pytest_goat.checks.file import check_file
from pytest_goat.checks.finding import CannotRun, Finding
from pytest_goat.checks.judge import check_judge
from pytest_goat.checks.output import check_output
from pytest_goat.checks.run import RunChecks
from pytest_goat.checks.text import one_line
from pytest_goat.errors import GoatError, SandboxError
from pytest_goat.sandbox.base import Taken
from pytest_goat.task import Check, FileCheck, JudgeCheck, OutputCheck, RunCheck

ROUNDING = 1e-9
"""What a sum of weights may lie below a threshold that it meets by rights."""


async def run_checks(context: CheckContext) -> list[CheckResult]:
    """Run every check of the task; results stand in the task's order.

    File and output checks come first and judges after them: they look at what the agent left, untouched.
    Then `run` checks, one after the other. A check that cannot be run is a result with an `error`; of
    exceptions only `SandboxError` comes out: the sandbox is lost, and nothing can be said.
    """
    checks = context.task.checks
    names = check_names(checks)
    engine = _Engine(context)
    results = {index: await engine.result(checks[index], names[index]) for index in _order(checks)}
    return [results[index] for index in range(len(checks))]


def score(results: Sequence[CheckResult], threshold: float = 1.0) -> tuple[float, bool]:
    """The weighted mean of the scores, and whether the trial passes.

    At threshold 1 it passes when every check does (a judge passes from its own `min_score`), below it when
    the mean reaches the threshold. A check of weight 0 is only reported. Without any weight: (1.0, True).
    """
    counted = [result for result in results if result.weight > 0]
    if not counted:
        return 1.0, True
    mean = sum(r.score * r.weight for r in counted) / sum(r.weight for r in counted)
    if threshold >= 1:
        return mean, all(result.passed for result in counted)
    return mean, mean >= threshold - ROUNDING


def check_names(checks: Sequence[Check]) -> list[str]:
    """What reports call the checks of a task: their own names, else short ones from their content. No two are
    alike.
    """
    names: list[str] = []
    for check in checks:
        name = unique = check.name or f"{kind(check)}: {_content(check)}"
        number = 1
        while unique in names:
            number += 1
            unique = f"{name} ({number})"
        names.append(unique)
    return names


def kind(check: Check) -> str:
    """`run`, `file`, `output` or `judge`."""
    return type(check).__name__.removesuffix("Check").lower()


class _Engine:
    """The checks of one trial, with what they share."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._left = context.left
        self._runs = RunChecks(context)

    async def result(self, check: Check, name: str) -> CheckResult:
        started = time.monotonic()
        found, error = Finding(False, 0.0), ""
        try:
            found = await self._find(check)
        except SandboxError:
            raise
        except (CannotRun, GoatError) as problem:
            error = str(problem)
        except Exception as problem:  # a fault of ours must not be taken for wrong work
            error = f"{type(problem).__name__}: {problem}"
        return CheckResult(
            name=name,
            kind=kind(check),
            score=found.score,
            passed=found.passed,
            weight=check.weight,
            expected=found.expected,
            seen=found.seen,
            error=error,
            duration=time.monotonic() - started,
            details=found.details,
        )

    async def _find(self, check: Check) -> Finding:
        context = self._context
        match check:
            case FileCheck():
                return check_file(check, await self._at([check.file]))
            case OutputCheck():
                return check_output(check, context.answer)
            case JudgeCheck():
                left = await self._at(check.files)
                return await check_judge(check, context.judge, context.task.prompt, context.answer, left)
            case RunCheck():
                return await self._runs.check(check)
        raise CannotRun(f"there is no such kind of check: {type(check).__name__}")

    async def _at(self, paths: Sequence[str]) -> Taken:
        """What the agent left, with all that can be had of `paths` in it."""
        if not paths:
            return Taken({})
        if self._left is None:
            self._left = await self._context.sandbox.take()
        wanted = [posixpath.normpath(path) for path in paths]
        if self._left.truncated and any(path not in self._left.files for path in wanted):
            return await self._context.sandbox.take(wanted)
        return self._left


def _order(checks: Sequence[Check]) -> list[int]:
    def rank(index: int) -> int:
        return 2 if isinstance(checks[index], RunCheck) else int(isinstance(checks[index], JudgeCheck))

    return sorted(range(len(checks)), key=rank)


def _content(check: Check) -> str:
    match check:
        case RunCheck():
            return one_line(check.run)
        case FileCheck():
            return one_line(check.file if check.exists else f"no {check.file}")
        case JudgeCheck():
            return one_line(check.rubric)
        case OutputCheck():
            return one_line(_output_content(check))
    return ""


def _output_content(check: OutputCheck) -> str:
    if check.contains:
        return f"contains {check.contains[0]}"
    if check.matches is not None:
        return f"matches {check.matches}"
    if check.equals is not None:
        return f"is {check.equals}"
    return "JSON"

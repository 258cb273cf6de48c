"""`run`: a command that must exit with 0, run in the workspace after the agent has ended.

Each such check

1. looks at the workspace and sets aside what would turn it (`guard`);
2. puts its hidden files, over anything of the agent's that stands in the way;
3. runs its line by `bash -c`, with nothing in the environment but the sandbox's PATH, HOME, TMPDIR and LANG
   and what stands in `ENVIRONMENT`; home and tmp are empty, and nothing of the agent is alive;
4. for a line that runs pytest, reads the report that shows that the hidden tests ran (`evidence`).

Before the next one the agent's files are put back and the hidden ones taken away. What else a check makes
stays, so that one check can build what another one tests.

A non-zero exit, a timeout and a broken memory limit are the work's fault. Only a command that the sandbox
does not have is the check's own, and that is looked up anew: the work can print any message it likes.

Python finds modules as it always does, the workspace among them (no PYTHONSAFEPATH, with which neither
`python check.py` nor `python -m pytest` would find the work): it is the guard that keeps other modules from
being shadowed. In a script such as `python test_work.py` that imports the work, the work can end the process
with exit code 0 before anything was tested; such a script runs it in a process of its own instead, or is
written for pytest.
"""

from __future__ import annotations

import signal
from typing import Any

from pytest_goat.checks.base import CheckContext
from pytest_goat.checks.evidence import MAX_REPORT, Evidence, Report
from pytest_goat.checks.finding import CannotRun, Finding
from pytest_goat.checks.report import Case
from pytest_goat.checks.shell import PytestCall, commands, pytest_call
from pytest_goat.checks.stage import Hindered, Stage
from pytest_goat.checks.text import clean, decode, indent, tail
from pytest_goat.errors import InfraError
from pytest_goat.sandbox.base import ExecResult, Files, NoRoom
from pytest_goat.task import RunCheck
from pytest_goat.workspace import read_files

ENVIRONMENT = {
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
}
MAX_SHOWN = 10
"""Failed tests that are shown."""
MAX_NAMES = 100
"""Names of failed tests, and of files set aside, that are kept."""
TAIL_BYTES = 64 * 1024
"""Bytes of each stream among which the last lines are looked for."""


class RunChecks:
    """The `run` checks of one trial. They are run one after the other, by `check`."""

    def __init__(self, context: CheckContext) -> None:
        self._sandbox, self._timeout = context.sandbox, context.task.limits.check_timeout
        self._stage = Stage(context.sandbox, context.original, context.left)

    async def check(self, check: RunCheck) -> Finding:
        """Raises `CannotRun` when it is the check's own fault, `SandboxError` as the sandbox does."""
        call = pytest_call(check.run)
        hidden = _hidden(check)
        evidence = Evidence(call, hidden) if call else None
        timeout = check.timeout or self._timeout
        try:
            set_aside = await self._stage.set(check, evidence.files if evidence else hidden)
            result = await self._sandbox.exec(
                ["bash", "-c", check.run],
                timeout=timeout,
                env=ENVIRONMENT | (evidence.environment(self._sandbox.outdir) if evidence else {}),
            )
        except Hindered as error:
            return Finding(False, 0.0, _expected(check), str(error))
        except NoRoom as error:
            seen = f"the agent left no room for the check's files: {error}"
            return Finding(False, 0.0, _expected(check), seen)
        await self._raise_for_missing(check, call, result)
        report = await self._report(evidence) if evidence else Report()
        return _finding(check, result, _end(result, timeout), report, set_aside)

    async def _report(self, evidence: Evidence) -> Report:
        path = evidence.report_path
        taken = await self._sandbox.take([path], self._sandbox.outdir, max_bytes=MAX_REPORT)
        return evidence.read(taken.files.get(path))

    async def _raise_for_missing(self, check: RunCheck, call: PytestCall | None, result: ExecResult) -> None:
        """Raises `CannotRun` when a command of the line is not in the sandbox, whatever the output says."""
        if result.exit_code == 127:
            for name in dict.fromkeys(words[0] for words in commands(check.run)):
                if "/" not in name and name.encode() in result.stderr:
                    found = await self._stage.bash('command -v -- "$1"', name)
                    if not found.ok:
                        raise CannotRun(f"the sandbox has no {'bash' if found.exit_code == 127 else name}")
        elif call and not result.ok and b"No module named pytest" in result.stderr:
            found = await self._stage.bash('"$1" -I -c "import pytest"', call.program)
            if not found.ok:
                raise CannotRun(f"{call.program} in the sandbox has no pytest")


def _hidden(check: RunCheck) -> Files:
    try:
        return read_files(check.files)
    except InfraError as error:
        raise CannotRun(str(error)) from error


def _expected(check: RunCheck, also: str = "") -> str:
    return f"exit code 0{also}, from: {check.run.strip()}"


def _finding(check: RunCheck, result: ExecResult, end: str, report: Report, set_aside: list[str]) -> Finding:
    details: dict[str, Any] = {"exit_code": result.exit_code, "set_aside": set_aside[:MAX_NAMES]}
    if report.cases:
        names = [case.name for case in report.failed[:MAX_NAMES]]
        details |= {"tests": len(report.cases), "failed": names}
    if result.ok and not report.failed and not report.doubts:
        return Finding(True, 1.0, details=details)
    output = details["output"] = _output(result)
    lines = [end]
    if result.ok or report.tampered:
        lines += report.doubts
    if report.failed:
        lines += [f"{len(report.failed)} of {len(report.cases)} tests failed:", _shown(report.failed)]
    if set_aside:
        more = f" and {len(set_aside) - MAX_SHOWN} more" if len(set_aside) > MAX_SHOWN else ""
        lines.append(f"set aside, as the agent's doing: {', '.join(set_aside[:MAX_SHOWN])}{more}")
        lines.append("  (if the task asks for it, list it under `trust:` of this check)")
    if not report.failed:
        # What pytest says of failed tests stands above already.
        lines.append(f"output:\n{indent(output, '| ')}" if output else "no output")
    expected = _expected(check, " with every test run and passed" if report.cases or report.doubts else "")
    return Finding(False, 0.0, expected, "\n".join(lines), details)


def _output(result: ExecResult) -> str:
    stdout, stderr = (decode(stream[-TAIL_BYTES:]) for stream in (result.stdout, result.stderr))
    return tail(clean(f"{stdout}\n{stderr}").strip())


def _end(result: ExecResult, timeout: float) -> str:
    """How the command ended, in words."""
    if result.timed_out:
        return f"it did not end within {timeout:g} s"
    if result.limit:
        return f"it broke the sandbox's {result.limit} limit"
    if result.exit_code < 0:
        try:
            return f"it was ended by {signal.Signals(-result.exit_code).name}"
        except ValueError:
            return f"it was ended by signal {-result.exit_code}"
    return f"exit code {result.exit_code}"


def _shown(failed: list[Case]) -> str:
    lines = []
    for case in failed[:MAX_SHOWN]:
        lines.append(f"  {case.name}")
        if case.message:
            lines.append(indent(case.message, "    "))
    if len(failed) > MAX_SHOWN:
        lines.append(f"  and {len(failed) - MAX_SHOWN} more")
    return "\n".join(lines)

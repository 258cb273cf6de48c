"""The text of a trial that did not pass: what pytest shows in place of a traceback."""

from __future__ import annotations

from pytest_goat.errors import Cause
from pytest_goat.report.advice import ADVICE
from pytest_goat.report.text import clean, count, seconds, spent_in_words, tail, tokens
from pytest_goat.result import Status, TrialResult

OUTPUT_LINES = 20
DIFF_LINES = 60
MAX_HEADLINE = 300


def headline(result: TrialResult) -> str:
    """The whole story in one line: "failed: 1 of 3 checks: run: python -m pytest -q"."""
    parts = [result.status.value]
    failing = [check for check in result.checks if not check.passed]
    if result.cause and not (failing and result.cause is Cause.CHECKS_FAILED):
        parts += [result.cause.value, result.message]
    if failing and result.status is Status.FAILED:
        more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
        parts += [f"{len(failing)} of {count(len(result.checks), 'check')}", failing[0].name + more]
    elif not result.cause:
        parts.append(result.message)
    line = ": ".join(" ".join(clean(part).split()) for part in parts if part)
    return line if len(line) <= MAX_HEADLINE else line[: MAX_HEADLINE - 1] + "\u2026"


def failure_text(
    result: TrialResult,
    *,
    checks: str = "",
    changes_diff: str = "",
    stderr_tail: str = "",
    record_path: str = "",
) -> str:
    """All that someone needs who wonders why a trial failed, or ended as an error.

    `checks`: the block on the checks that failed; `changes_diff`: unified diff of the workspace;
    `stderr_tail`: the end of what the agent wrote there; `record_path`: where the stored record is. What the
    sandbox produced is made safe to print.
    """
    blocks = [headline(result)]
    if checks:
        blocks.append(clean(checks).strip("\n"))
    blocks += [*_attempts(result), *_output(result.answer, stderr_tail), *_changes(result, changes_diff)]
    last = [usage_line(result)]
    if result.cause and result.cause is not Cause.CHECKS_FAILED:
        last.insert(0, f"{result.cause.value}: {ADVICE[result.cause]}")
    if record_path:
        last.append(f"record: {record_path}")
    if result.trace:
        last.append(f"trace: {result.trace}")
    return "\n\n".join([*blocks, "\n".join(last)])


def usage_line(result: TrialResult) -> str:
    """What the trial took: turns, tokens, money, time in its parts."""
    phases = result.phases
    agent = f"agent {seconds(phases.agent)}"
    if result.calls:
        agent += f" of which model {seconds(result.model_seconds)}"
    if result.waited:
        agent += f" and waiting for the rate limit {seconds(result.waited)}"
    parts = f"sandbox {seconds(phases.open)}, {agent}, checks {seconds(phases.checks)}"
    usage = f"{tokens(result.usage)} tokens, cost {spent_in_words(result.usage)}"
    return f"usage: {count(result.turns, 'turn')}, {usage}, {seconds(phases.total)} ({parts})"


def attempt_lines(result: TrialResult) -> list[str]:
    """The tries before the last one, each with its cause."""
    return [
        f"attempt {number}: {attempt.cause.value} after {seconds(attempt.duration)}: {clean(attempt.message)}"
        for number, attempt in enumerate(result.attempts, 1)
    ]


def _attempts(result: TrialResult) -> list[str]:
    return ["\n".join(attempt_lines(result))] if result.attempts else []


def _output(answer: str, stderr: str) -> list[str]:
    shown = (("end of the agent's answer", answer), ("end of the agent's stderr", stderr))
    return [f"--- {title}\n{tail(clean(text), OUTPUT_LINES)}" for title, text in shown if text.strip()]


def _changes(result: TrialResult, diff: str) -> list[str]:
    if not result.changed:
        return ["--- the workspace is unchanged"] if result.phases.agent else []
    kinds = list(result.changed.values())
    told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = clean(diff).splitlines()
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"[... {len(lines) - DIFF_LINES} more lines in the record ...]"]
    return ["\n".join([f"--- changes of the workspace: {told}", *lines])]

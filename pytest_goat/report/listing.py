"""What `goat results` prints."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from pytest_goat.report.failure import attempt_lines, headline, usage_line
from pytest_goat.report.terminal import summary_lines
from pytest_goat.report.text import clean, percent, seconds, spent, table, tokens
from pytest_goat.result import RunRecord, RunSummary, Status, TrialResult
from pytest_goat.store.encode import json_text
from pytest_goat.store.folder import StoredRun

RUNS_HEAD = ("run", "started", "models", "trials", "rate", "cost", "time")
TRIALS_HEAD = ("trial", "status", "score", "turns", "tokens", "cost", "time")
MAX_MODELS = 24


def runs_text(runs: Sequence[tuple[RunRecord, RunSummary]], width: int = 80) -> str:
    """A table of runs, in the order given."""
    lines = table(RUNS_HEAD, [_run_row(record, summary) for record, summary in runs], width)
    if any(not record.finished for record, _ in runs):
        lines.append("* not finished: it runs still, or was killed")
    return "\n".join(lines) + "\n"


def run_text(
    stored: StoredRun, summary: RunSummary, *, path: str = "", full: bool = False, width: int = 80
) -> str:
    """One run: what it was, its trials, its figures and gates.

    `full` adds to each trial its answer, checks and model calls; `path` is the run's folder as it is shown.
    """
    lines = [*_about(stored.record), "", *_trials(stored.results, full, width), ""]
    lines += [f"unreadable: {problem}" for problem in stored.unreadable]
    lines += [line.text for line in summary_lines(summary, results_path=path, width=width)]
    return "\n".join(lines) + "\n"


def run_json(stored: StoredRun, summary: RunSummary) -> str:
    """One run as one JSON value: {"run", "summary", "trials", "unreadable"}."""
    return json_text(
        {
            "run": stored.record.to_json(),
            "summary": summary.to_json(),
            "trials": [result.to_json() for result in stored.results],
            "unreadable": stored.unreadable,
        }
    )


def _run_row(record: RunRecord, summary: RunSummary) -> tuple[str, ...]:
    models = ", ".join(record.models) or "-"
    if len(models) > MAX_MODELS:
        models = f"{models[: MAX_MODELS - 1]}\u2026"
    return (
        record.run_id if record.finished else f"{record.run_id}*",
        _minute(record.started),
        models,
        str(summary.totals.trials),
        percent(summary.totals.pass_rate),
        spent(summary.totals.usage),
        seconds(summary.duration),
    )


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ") or "-"


def _about(record: RunRecord) -> list[str]:
    commit = record.git.commit[:12] + (" (with changes)" if record.git.dirty else "")
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    every = {
        "run": record.run_id,
        "started": f"{_minute(record.started)} UTC" if record.started else "",
        "command": " ".join(record.argv),
        "models": ", ".join(record.models),
        "agent": f"{record.agent.name} {record.agent.version}".strip(),
        "backend": record.backend,
        "gateway": record.gateway,
        "commit": commit,
        "versions": versions,
    }
    told = [f"{name:9}{clean(value)}" for name, value in every.items() if value]
    return told if record.finished else [*told, "not finished: it runs still, or was killed"]


def _trials(results: Sequence[TrialResult], full: bool, width: int) -> list[str]:
    head, *rows = table(TRIALS_HEAD, [_trial_row(result) for result in results], width)
    lines = [head]
    for row, result in zip(rows, results, strict=True):
        lines.append(row)
        if result.status is not Status.PASSED or result.message:
            lines.append(f"  {headline(result)}")
        if full:
            lines += [f"    {line}".rstrip() for line in _detail(result)]
    return lines


def _trial_row(result: TrialResult) -> tuple[str, ...]:
    return (
        result.node_id,
        result.status.value + (" (unchecked)" if result.unchecked else ""),
        "-" if result.score is None else f"{result.score:.2f}",
        str(result.turns),
        tokens(result.usage),
        spent(result.usage),
        seconds(result.phases.total),
    )


def _detail(result: TrialResult) -> list[str]:
    lines = attempt_lines(result)
    for check in result.checks:
        lines.append(f"check {'passed' if check.passed else 'FAILED'}: {clean(check.name)} ({check.score:g})")
        shown = (("expected", check.expected), ("seen", check.error or check.seen))
        for word, text in shown:
            lines += indent(f"{word}: {clean(text)}", "  ").splitlines() if text else []
    for number, call in enumerate(result.calls, 1):
        ended = f"{call.cause.value}: {clean(call.message)}" if call.cause else call.finish_reason or "ended"
        took = f"{tokens(call.usage)} tokens, {seconds(call.duration)}"
        took += f" ({seconds(call.waited)} waiting for the rate limit)" if call.waited else ""
        lines.append(
            f"call {number}: {call.status} {clean(call.model_served or call.model_asked)}, {took}, {ended}"
        )
    if result.answer:
        lines += ["answer:", *(f"  {line}" for line in clean(result.answer).splitlines())]
    if result.trace:
        lines.append(f"trace: {result.trace}")
    return [*lines, usage_line(result), ""]

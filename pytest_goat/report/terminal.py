"""The summary at the end of a run, as lines of text with a style; the plugin writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Literal, NamedTuple

from pytest_goat.errors import Cause
from pytest_goat.report.advice import ADVICE
from pytest_goat.report.text import (
    count,
    interval,
    label,
    money,
    percent,
    seconds,
    spent,
    spent_in_words,
    table,
    tokens,
)
from pytest_goat.result import GateVerdict, Group, RunSummary, Verdict

Style = Literal["", "bold", "green", "yellow", "red", "light"]
"""The terminal writer's own words for markup."""

MAX_ROWS = 60
"""A longer table hides what it should show: the worst groups stay, the rest is counted."""

HEAD = ("trials", "pass", "fail", "err", "rate", "95%", "tokens", "cost", "time")
REPEATS_HEAD = ("k", "pass@k", "pass^k")

VERDICT_STYLE: dict[Verdict, Style] = {
    Verdict.HOLDS: "green",
    Verdict.BROKEN: "red",
    Verdict.UNDECIDED: "yellow",
    Verdict.ERRORS: "red",
}


class Line(NamedTuple):
    """One line, and how it is marked."""

    text: str
    style: Style = ""


def summary_lines(
    summary: RunSummary, *, results_path: str = "", recorded: Sequence[str] = (), width: int = 80
) -> list[Line]:
    """All that is said at the end of a run; the gates come last.

    `results_path`: the run's folder as it is shown; "" when nothing was stored. `recorded`: lines on its
    recordings. `width`: of the terminal.
    """
    lines = [Line(_title(summary), "bold"), *_tables(summary, width), *_notices(summary, width)]
    if results_path:
        lines.append(Line(f"results: {results_path} (goat results {summary.run_id})"))
    lines += map(Line, recorded)
    return lines + [gate_line(gate) for gate in summary.gates]


def gate_line(gate: GateVerdict) -> Line:
    """A gate with its value, interval and verdict."""
    word = gate.verdict.value if gate.verdict is Verdict.HOLDS else gate.verdict.value.upper()
    return Line(f"gate {gate.name}: {word}: {gate.words}", VERDICT_STYLE[gate.verdict])


def _title(summary: RunSummary) -> str:
    labels = _labels(summary.groups)
    models = (
        f" of {labels[0]}" if len(labels) == 1 else f" of {len(labels)} models and variants" if labels else ""
    )
    return f"{count(summary.totals.trials, 'trial')}{models} in {seconds(summary.duration)}"


def _labels(groups: Sequence[Group]) -> list[str]:
    return sorted({label(group.model, group.variant) for group in groups})


def _tables(summary: RunSummary, width: int) -> list[Line]:
    worst = sorted(summary.groups, key=lambda group: -1.0 if group.pass_rate is None else group.pass_rate)
    kept = {id(group) for group in worst[:MAX_ROWS]}
    shown = [group for group in summary.groups if id(group) in kept]
    lines = _table(shown, summary, HEAD, _cells, width)
    if rest := worst[MAX_ROWS:]:
        more = f"{count(len(rest), 'more group')} at {percent(rest[0].pass_rate)} or better"
        lines.append(Line(f"{more}: goat results {summary.run_id}"))
    if summary.totals.k > 1:
        lines += _table(shown, summary, REPEATS_HEAD, _repeats_cells, width)
    return lines


def _table(
    groups: Sequence[Group],
    summary: RunSummary,
    head: Sequence[str],
    cells: Callable[[Group], Sequence[str]],
    width: int,
) -> list[Line]:
    """One row per group. Several models stand indented below their suite: two names in a row do not fit."""
    several = len(_labels(summary.groups)) > 1
    rows: list[tuple[str, Group | None]] = []
    for suite, members in groupby(groups, key=lambda group: group.suite):
        name = suite or "(no suite)"
        if several:
            rows.append((name, None))
        rows += [(f"  {label(g.model, g.variant)}" if several else name, g) for g in members]
    if len(summary.groups) > 1:
        rows.append(("total", summary.totals))
    texts = [(name, *(cells(group) if group else [""] * len(head))) for name, group in rows]
    first, *lines = table(("suite", *head), texts, width)
    styles = [_style(group) if group else "" for _, group in rows]
    return [Line(first, "light"), *map(Line, lines, styles)]


def _cells(group: Group) -> Sequence[str]:
    counts = (group.trials, group.passed, group.failed, group.errors)
    took = (tokens(group.usage), spent(group.usage), seconds(group.seconds))
    return (*map(str, counts), percent(group.pass_rate), interval(group), *took)


def _repeats_cells(group: Group) -> Sequence[str]:
    return (str(group.k), percent(group.pass_at_k), percent(group.pass_hat_k))


def _style(group: Group) -> Style:
    """Failures alone are no alarm (a benchmark that all pass measures nothing): that is for gates to say."""
    if group.errors:
        return "yellow"
    if group.counted and not group.passed:
        return "red"
    return "green" if group.counted and not group.failed else ""


def _notices(summary: RunSummary, width: int) -> list[Line]:
    lines: list[Line] = []
    totals = summary.totals
    if totals.unchecked:
        lines.append(Line(f"{totals.unchecked} unchecked: passed because the agent completed", "yellow"))
    if totals.usage.cost:
        each = [f"{money(totals.usage.cost / totals.trials)} a trial"]
        if totals.cost_per_passed is not None:
            each.append(f"{money(totals.cost_per_passed)} for each that passed")
        lines.append(Line(f"cost {spent_in_words(totals.usage)}: {', '.join(each)}"))
    if totals.skipped:
        lines.append(Line(f"{totals.skipped} skipped"))
    if summary.causes:
        errors = count(totals.errors, "infrastructure error")
        lines.append(Line(f"{errors}, not in the rate (nothing is said about the model):", "yellow"))
    for cause, times in summary.causes.items():
        text = f"{times} {cause}: {ADVICE[Cause(cause)]}"
        lines += map(Line, wrap(text, width, initial_indent="  ", subsequent_indent="    "))
    return lines

"""JUnit: the properties that pytest's own file is given, and a file of ours for the run's folder.

The file keeps to the schema of Jenkins' xUnit plugin (junit-10.xsd), but for one thing: a test case has
`<properties>`, in the way and place in which pytest writes them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from pytest_goat.checks import describe_failure
from pytest_goat.report.failure import attempt_lines, headline
from pytest_goat.report.text import clean, label, tail
from pytest_goat.result import Group, RunSummary, Status, TrialResult
from pytest_goat.store.folder import write_whole

INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0, section 2.2, does not allow, not even escaped."""

ANSWER_LINES = 40


def trial_properties(result: TrialResult, record_path: Path) -> list[tuple[str, str]]:
    """The properties of a trial's test case; those that say nothing are left out.

    `record_path` is where the store has the trial, in the folder of its run.
    """
    usage, phases = result.usage, result.phases
    every = {
        "run": record_path.parent.parent.name,
        "trial": result.trial_id,
        "record": str(record_path),
        "suite": result.suite,
        "model": result.model,
        "variant": result.variant,
        "agent": result.agent,
        "epoch": str(result.epoch),
        "status": result.status.value,
        "cause": result.cause.value if result.cause else "",
        "score": "" if result.score is None else f"{result.score:g}",
        "unchecked": "true" if result.unchecked else "",
        "turns": str(result.turns),
        "prompt_tokens": str(usage.prompt_tokens),
        "cached_tokens": str(usage.cached_tokens),
        "completion_tokens": str(usage.completion_tokens),
        "reasoning_tokens": str(usage.reasoning_tokens),
        "cost": "" if usage.cost is None else f"{usage.cost:.6f}",
        "unpriced_calls": str(usage.unpriced) if usage.unpriced else "",
        "seconds_open": f"{phases.open:.3f}",
        "seconds_agent": f"{phases.agent:.3f}",
        "seconds_model": f"{result.model_seconds:.3f}" if result.calls else "",
        "seconds_waited": f"{result.waited:.3f}" if result.waited else "",
        "seconds_checks": f"{phases.checks:.3f}",
        "seconds": f"{phases.total:.3f}",
        "retries": str(len(result.attempts)),
        "trace": result.trace,
    }
    return [(f"goat_{name}", _valid(value)) for name, value in every.items() if value]


def suite_properties(summary: RunSummary) -> list[tuple[str, str]]:
    """Pass rate and 95% interval of the run and of each suite and model, and the gates."""
    found = [("goat_run", summary.run_id), *_rate("goat", summary.totals)]
    for group in summary.groups:
        suite = group.suite or "(no suite)"
        found += _rate(f"goat[{suite}][{label(group.model, group.variant)}]", group)
    found += [(f"goat_gate[{gate.name}]", f"{gate.verdict.value}: {gate.words}") for gate in summary.gates]
    return [(_valid(name), _valid(value)) for name, value in found]


def write_junit(path: Path, results: Sequence[TrialResult], summary: RunSummary) -> None:
    """Write a JUnit file: a test suite for each suite, a test case for each trial. Raises `OSError`."""
    root = ET.Element("testsuites", {"name": "pytest-goat", **_counts(results)})
    suites: dict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        suites[result.suite].append(result)
    for name in sorted(suites):
        root.append(_suite(name or "(no suite)", suites[name], summary))
    write_whole(path, ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _suite(name: str, results: Sequence[TrialResult], summary: RunSummary) -> ET.Element:
    suite = ET.Element("testsuite", {"name": _valid(name), **_counts(results)})
    suite.set("skipped", str(sum(r.status is Status.SKIPPED for r in results)))
    if starts := [r.started for r in results if r.started]:
        suite.set("timestamp", min(starts))
    suite_id = results[0].suite
    groups = [group for group in summary.groups if group.suite == suite_id]
    found = [pair for g in groups for pair in _rate(f"goat[{label(g.model, g.variant)}]", g)]
    _add_properties(suite, [("goat_run", summary.run_id), *found])
    suite.extend(_case(result, summary.run_id) for result in results)
    return suite


def _case(result: TrialResult, run_id: str) -> ET.Element:
    path, _, name = result.node_id.partition("::")
    classname = path.rsplit(".", 1)[0].replace("/", ".")
    case = ET.Element(
        "testcase", classname=_valid(classname), name=_valid(name or path), time=f"{result.phases.total:.3f}"
    )
    _add_properties(case, trial_properties(result, Path(run_id, "trials", f"{result.trial_id}.json")))
    tags = {Status.FAILED: "failure", Status.ERROR: "error", Status.SKIPPED: "skipped"}
    if tag := tags.get(result.status):
        cause = result.cause.value if result.cause else result.status.value
        outcome = ET.SubElement(case, tag, type=cause, message=_valid(headline(result)))
        outcome.text = _valid(clean("\n".join([*attempt_lines(result), describe_failure(result.checks)])))
    if result.answer:
        ET.SubElement(case, "system-out").text = _valid(tail(clean(result.answer), ANSWER_LINES))
    return case


def _counts(results: Sequence[TrialResult]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(r.status is Status.FAILED for r in results)),
        "errors": str(sum(r.status is Status.ERROR for r in results)),
        "time": f"{sum(r.phases.total for r in results):.3f}",
    }


def _rate(prefix: str, group: Group) -> list[tuple[str, str]]:
    spent = [] if group.usage.cost is None else [(f"{prefix}_cost", f"{group.usage.cost:.6f}")]
    if group.usage.unpriced:
        spent.append((f"{prefix}_unpriced_calls", str(group.usage.unpriced)))
    if group.cost_per_passed is not None:
        spent.append((f"{prefix}_cost_per_passed", f"{group.cost_per_passed:.6f}"))
    if group.pass_rate is None:
        return spent
    lower, upper = group.interval
    return [
        *spent,
        (f"{prefix}_pass_rate", f"{group.pass_rate:.4f}"),
        (f"{prefix}_pass_rate_low", f"{lower:.4f}"),
        (f"{prefix}_pass_rate_high", f"{upper:.4f}"),
    ]


def _add_properties(parent: ET.Element, pairs: Iterable[tuple[str, str]]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in pairs:
        ET.SubElement(properties, "property", name=_valid(name), value=_valid(value))


def _valid(text: str) -> str:
    return INVALID.sub("\ufffd", text)

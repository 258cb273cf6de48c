"""The summary at the end of a run."""

from __future__ import annotations

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gate import Gate, evaluate
from pytest_goat.gateway.base import Usage
from pytest_goat.report.advice import ADVICE
from pytest_goat.report.summary import summarize
from pytest_goat.report.terminal import Line, gate_line, summary_lines
from pytest_goat.result import GateVerdict, Phases, RunSummary, Status, TrialResult, Verdict
from pytest_goat.task import GateRule
from tests.support.results import make_result, make_results

USAGE = Usage(10_000, 0, 2_345, 0, 0.0123)
RUN = "20261124-053614-7f3a"
PATH = f".goat/results/{RUN}"


def lines_of(results: list[TrialResult], gates: list[Gate] | None = None, width: int = 80) -> list[Line]:
    verdicts = evaluate(results, gates or [])
    summary = summarize(results, run_id=RUN, gates=verdicts, duration=192.0)
    return summary_lines(summary, results_path=PATH, width=width)


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_one_suite_and_model() -> None:
    results = make_results(5, 1, usage=USAGE, phases=Phases(total=10.0))
    assert texts(lines_of(results, [Gate("--goat-min-pass-rate", GateRule(0.8))])) == [
        "6 trials of gpt-5-mini in 3m12s",
        "suite             trials pass fail err  rate   95% tokens    cost  time",
        "benchmarks/basics      6    5    1   0 83.3% 44-97  74.1k $0.0738 1m00s",
        "cost $0.0738: $0.0123 a trial, $0.0148 for each that passed",
        f"results: {PATH} (goat results {RUN})",
        "gate --goat-min-pass-rate: holds: 83.3% of 6 (95%: 43.6-97.0), needs 80%",
    ]


def test_several_models_stand_below_their_suite() -> None:
    results = [
        make_result(f"{suite}{model}", suite=suite, model=model, variant=variant)
        for suite in ("benchmarks/basics", "benchmarks/shell")
        for model, variant in (("gpt-5-mini", "baseline"), ("gpt-5-mini", "+skills"), ("llama", "baseline"))
    ]
    names = [text.rstrip() for text in texts(lines_of(results))]
    assert names[0].startswith("6 trials of 3 models and variants")
    assert [name.split("  ")[0] or name.split()[0] for name in names[1:11]] == [
        "suite",
        "benchmarks/basics",
        "gpt-5-mini+skills",
        "gpt-5-mini",
        "llama",
        "benchmarks/shell",
        "gpt-5-mini+skills",
        "gpt-5-mini",
        "llama",
        "total",
    ]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [1, 2, 200])
def test_tables_fit_and_are_aligned(count: int, width: int) -> None:
    results = [
        make_result(
            f"{number}-{n}",
            task_id=f"task{n}",
            suite=f"benchmarks/{'long/' * (number % 9)}suite{number}",
            status=Status.FAILED if (number + n) % 3 else Status.PASSED,
            usage=Usage(number * 10_000, 0, 7, 0, number / 100),
            phases=Phases(total=number * 9.0),
        )
        for number in range(count)
        for n in range(4)
    ]
    found = texts(lines_of(results, width=width))
    assert max(map(len, found)) <= width
    end = next(
        n for n, text in enumerate(found) if not text.startswith(("suite", "bench", "\u2026", "total")) and n
    )
    assert len(set(map(len, found[1:end]))) == 1


def test_of_very_many_groups_the_worst_are_shown() -> None:
    results = [
        make_result(f"{n}", suite=f"suite{n:03}", status=Status.FAILED if n == 123 else Status.PASSED)
        for n in range(200)
    ]
    found = texts(lines_of(results))
    assert any(text.startswith("suite123") for text in found)
    assert f"140 more groups at 100.0% or better: goat results {RUN}" in found
    assert len(found) < 70
    assert any(text.startswith("total") and " 200 " in text for text in found)


def test_no_model_no_tokens_no_price() -> None:
    row = texts(lines_of(make_results(failed=2, model="nop")))[2]
    assert row.split()[-3:] == ["0", "-", "0.0s"]


def test_unchecked_is_said() -> None:
    results = [*make_results(3, unchecked=True), make_result("checked")]
    assert Line("3 unchecked: passed because the agent completed", "yellow") in lines_of(results)
    assert not any("unchecked" in text for text in texts(lines_of(make_results(2))))


def test_errors_come_by_cause_with_what_to_do() -> None:
    results = [
        *make_results(errors=2, cause=Cause.RATE_LIMITED),
        *make_results(1, errors=1, cause=Cause.AUTH),
    ]
    said = " ".join(" ".join(texts(lines_of(results))).split())
    assert "3 infrastructure errors, not in the rate" in said
    assert f"2 rate_limited: {ADVICE[Cause.RATE_LIMITED]}" in said
    assert f"1 auth: {ADVICE[Cause.AUTH]}" in said


def test_every_cause_has_one_line_of_advice() -> None:
    assert set(ADVICE) == set(Cause)
    assert not any("\n" in advice for advice in ADVICE.values())


def test_repeats_have_a_table_of_their_own() -> None:
    results = [
        make_result(f"{task}{epoch}", task_id=task, epoch=epoch, status=status)
        for task, status in (("a", Status.PASSED), ("b", Status.FAILED))
        for epoch in (1, 2)
    ]
    found = texts(lines_of(results))
    assert "suite             k pass@k pass^k" in found
    assert "benchmarks/basics 2  50.0%  50.0%" in found


def test_gates_come_last_each_with_its_verdict() -> None:
    results = [*make_results(1, 3, suite="a"), *make_results(1, suite="b")]
    gates = [
        Gate("--goat-min-pass-rate", GateRule(0.1)),
        Gate("a", GateRule(0.8), "a"),
        Gate("b", GateRule(0.8, confidence=0.95), "b"),
    ]
    assert [(line.text.split(": ")[:2], line.style) for line in lines_of(results, gates)[-3:]] == [
        (["gate --goat-min-pass-rate", "holds"], "green"),
        (["gate a", "BROKEN"], "red"),
        (["gate b", "UNDECIDED"], "yellow"),
    ]


def test_a_gate_broken_by_errors_says_so() -> None:
    verdict = GateVerdict("a", GateRule(0.8), Verdict.ERRORS, "2 infrastructure errors, 0 tolerated")
    assert gate_line(verdict) == Line("gate a: ERRORS: 2 infrastructure errors, 0 tolerated", "red")


def test_an_empty_run_has_a_summary_too() -> None:
    assert texts(summary_lines(RunSummary("r", summarize([]).totals)))[0] == "0 trials in 0.0s"

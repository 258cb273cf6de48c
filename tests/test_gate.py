"""From results to verdicts, and from verdicts to the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gate import Gate, evaluate, exit_code, ungated
from pytest_goat.result import GateVerdict, Status, TrialResult, Verdict
from pytest_goat.task import GateRule, Suite
from tests.support.results import make_result, make_results


def decide(rule: GateRule, results: list[TrialResult]) -> GateVerdict:
    (verdict,) = evaluate(results, [Gate("gate", rule)])
    return verdict


@pytest.mark.parametrize(
    ("passed", "failed", "expected"),
    [(4, 1, Verdict.HOLDS), (3, 1, Verdict.BROKEN), (1, 0, Verdict.HOLDS), (0, 1, Verdict.BROKEN)],
)
def test_the_observed_rate_decides(passed: int, failed: int, expected: Verdict) -> None:
    assert decide(GateRule(0.8), make_results(passed, failed)).verdict is expected


@pytest.mark.parametrize(
    ("passed", "failed", "expected"),
    [(99, 1, Verdict.HOLDS), (9, 1, Verdict.UNDECIDED), (50, 50, Verdict.BROKEN)],
)
def test_at_a_confidence_the_interval_decides(passed: int, failed: int, expected: Verdict) -> None:
    verdict = decide(GateRule(0.8, confidence=0.95), make_results(passed, failed))
    assert verdict.verdict is expected
    assert ("--goat-epochs" in verdict.words) == (expected is Verdict.UNDECIDED)


def test_a_lower_confidence_is_easier_to_reach() -> None:
    results = make_results(18, 2)
    assert decide(GateRule(0.8, confidence=0.95), results).verdict is Verdict.UNDECIDED
    assert decide(GateRule(0.8, confidence=0.5), results).verdict is Verdict.HOLDS


def test_words_give_value_interval_and_threshold() -> None:
    verdict = decide(GateRule(0.8), make_results(8, 2))
    assert verdict.words == "80.0% of 10 (95%: 49.0-94.3), needs 80%"
    assert (verdict.passed, verdict.counted, verdict.pass_rate) == (8, 10, 0.8)


def test_errors_and_skipped_never_count_in_the_rate() -> None:
    verdict = decide(GateRule(0.8, max_errors=5), make_results(4, 1, errors=5, skipped=3))
    assert verdict.verdict is Verdict.HOLDS
    assert (verdict.pass_rate, verdict.counted, verdict.errors) == (0.8, 5, 5)
    assert "5 errors tolerated" in verdict.words


def test_more_errors_than_tolerated_break_the_gate_in_their_own_words() -> None:
    verdict = decide(GateRule(0.8), make_results(passed=10, errors=2))
    assert verdict.verdict is Verdict.ERRORS
    assert verdict.words == "2 infrastructure errors, 0 tolerated"


@pytest.mark.parametrize(
    ("results", "words"),
    [([], "no trial ended"), (make_results(errors=1, skipped=2), "no trial counts (1 error, 2 skipped)")],
)
def test_nothing_that_counts_is_broken(results: list[TrialResult], words: str) -> None:
    verdict = decide(GateRule(0.0, max_errors=9), results)
    assert verdict.verdict is Verdict.BROKEN
    assert verdict.pass_rate is None
    assert words in verdict.words


@pytest.mark.parametrize(
    ("suite", "expected"),
    [("a", 2), ("a/b", 1), (".", 3), (None, 4), ("elsewhere", 0)],
)
def test_a_suite_gate_covers_the_tasks_at_and_below_it(suite: str | None, expected: int) -> None:
    results = [make_result(str(number), suite=name) for number, name in enumerate(("a", "a/b", "ab", ""))]
    gate = Gate("gate", GateRule(0.5), suite)
    assert sum(map(gate.covers, results)) == expected


def test_a_suite_without_a_gate_has_none() -> None:
    assert Gate.of_suite(Suite("a", Path("/a"))) is None
    assert Gate.of_suite(Suite("a", Path("/a"), gate=GateRule(0.5))) == Gate("a", GateRule(0.5), "a")


def test_failures_and_errors_outside_every_gate_are_found() -> None:
    failed = make_result("1", suite="a", status=Status.FAILED)
    error = make_result("2", suite="a", status=Status.ERROR, cause=Cause.AUTH)
    outside = make_result("3", suite="b", status=Status.FAILED)
    passed = make_result("4", suite="b")
    results = [failed, error, outside, passed]
    assert ungated(results, []) == [failed, error, outside]
    assert ungated(results, [Gate("a", GateRule(0.5), "a")]) == [outside]
    assert ungated(results, [Gate("all", GateRule(0.5))]) == []


def test_a_gate_on_errors_alone_does_not_excuse_failures() -> None:
    failed, error = make_result("1", status=Status.FAILED), make_result("2", status=Status.ERROR)
    rule = GateRule(max_errors=1)
    assert ungated([failed, error], [Gate("all", rule)]) == [failed]
    assert decide(rule, [failed, error]).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("verdicts", "ungated_failures", "other_failures", "expected"),
    [
        ([], False, False, 0),
        ([Verdict.HOLDS], False, False, 0),
        ([Verdict.HOLDS], True, False, 1),
        ([Verdict.HOLDS], False, True, 1),
        ([Verdict.HOLDS, Verdict.BROKEN], False, False, 1),
        ([Verdict.ERRORS], False, False, 1),
        ([Verdict.HOLDS, Verdict.UNDECIDED], False, False, 6),
        ([Verdict.UNDECIDED, Verdict.BROKEN], False, False, 1),
        ([Verdict.UNDECIDED], True, False, 1),
    ],
)
def test_exit_codes(
    verdicts: list[Verdict], ungated_failures: bool, other_failures: bool, expected: int
) -> None:
    given = [GateVerdict("gate", GateRule(0.5), verdict, "") for verdict in verdicts]
    code = exit_code(given, ungated_failures=ungated_failures, other_failures=other_failures)
    assert code == expected

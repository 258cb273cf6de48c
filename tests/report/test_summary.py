"""From results to figures."""

from __future__ import annotations

import random

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway.base import Usage
from pytest_goat.report.summary import summarize
from pytest_goat.result import Group, Phases, Status
from pytest_goat.stats import wilson
from tests.support.results import make_result, make_results


def test_totals_count_each_status_and_rate_what_counts() -> None:
    totals = summarize(make_results(6, 2, errors=1, skipped=3)).totals
    assert (totals.trials, totals.passed, totals.failed, totals.errors, totals.skipped) == (12, 6, 2, 1, 3)
    assert totals.pass_rate == 0.75
    assert totals.interval == wilson(6, 8)


def test_without_anything_that_counts_there_is_no_rate() -> None:
    assert summarize([]).totals == Group()
    assert summarize(make_results(errors=2)).totals.pass_rate is None


def test_unchecked_counts_those_that_passed() -> None:
    results = [
        make_result("1", unchecked=True),
        make_result("2"),
        make_result("3", unchecked=True, status=Status.FAILED),
    ]
    assert summarize(results).totals.unchecked == 1


def test_tokens_cost_and_time_are_sums() -> None:
    first = make_result("1", usage=Usage(10, 1, 2, 0, 0.5), phases=Phases(total=3.0))
    free = make_result("2", usage=Usage(5, 0, 1, 1), phases=Phases(total=4.0))
    totals = summarize([first, free]).totals
    assert (totals.usage, totals.seconds) == (Usage(15, 1, 3, 1, 0.5), 7.0)
    assert summarize([free]).totals.usage.cost is None


def test_groups_are_by_suite_model_and_variant_whatever_the_order() -> None:
    results = [
        make_result(f"{suite}-{model}-{variant}-{n}", suite=suite, model=model, variant=variant)
        for suite in ("b", "a")
        for model in ("y", "x")
        for variant in ("baseline", "+skills")
        for n in range(2)
    ]
    groups = summarize(results).groups
    keys = [(group.suite, group.model, group.variant) for group in groups]
    assert keys == sorted(keys)
    assert len(keys) == 8
    assert all(group.trials == 2 for group in groups)
    shuffled = random.Random(1).sample(results, len(results))
    assert summarize(shuffled) == summarize(results)


def test_errors_are_counted_by_cause() -> None:
    results = [
        *make_results(errors=2, cause=Cause.RATE_LIMITED),
        *make_results(errors=1, cause=Cause.AUTH),
        *make_results(failed=1),
    ]
    assert summarize(results).causes == {"auth": 1, "rate_limited": 2}


def test_repeats_give_pass_at_k_and_pass_hat_k_by_task() -> None:
    outcomes = {"always": "ppp", "once": "pff", "never": "fff", "with-an-error": "ppe"}
    statuses = {"p": Status.PASSED, "f": Status.FAILED, "e": Status.ERROR}
    results = [
        make_result(f"{task}-{epoch}", task_id=task, epoch=epoch, status=statuses[letter])
        for task, letters in outcomes.items()
        for epoch, letter in enumerate(letters, 1)
    ]
    totals = summarize(results).totals
    assert totals.k == 3
    assert totals.pass_at_k == pytest.approx(2 / 3)
    assert totals.pass_hat_k == pytest.approx(1 / 3)


def test_without_repeats_there_are_no_such_figures() -> None:
    totals = summarize(make_results(3, 2)).totals
    assert (totals.k, totals.pass_at_k, totals.pass_hat_k) == (1, None, None)


def test_the_same_task_with_two_models_is_no_repeat() -> None:
    assert summarize([make_result("1", model="x"), make_result("2", model="y")]).totals.k == 1


def test_duration_is_given_or_read_from_the_trials() -> None:
    results = [
        make_result("1", started="2026-11-24T05:00:10.000+00:00", phases=Phases(total=30.0)),
        make_result("2", started="2026-11-24T05:00:00.000+00:00", phases=Phases(total=5.0)),
    ]
    assert summarize(results).duration == 40.0
    assert summarize(results, duration=1.5).duration == 1.5

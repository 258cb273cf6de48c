"""The estimate of a run's cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_goat.estimate import estimate, quantile, spent
from pytest_goat.gateway.base import Usage
from pytest_goat.task import Source, Task, Trial
from tests.support.results import make_result


def trial(task: str, model: str = "m") -> Trial:
    return Trial(task, task, Task(task, "Do it.", Source(Path("x.yaml"))), model)


def past(task: str, *costs: float | None) -> dict[tuple[str, str, str], list[float]]:
    result = dataclasses.replace(make_result(), suite="", task_id=task, model="m")
    return spent(dataclasses.replace(result, usage=Usage(cost=cost)) for cost in costs)


def test_what_was_tried_before_counts_as_it_cost() -> None:
    costs = past("a", *(number / 10 for number in range(1, 11)), None)
    found = estimate([trial("a"), trial("a")], costs, lambda trial: 99.0)
    assert found.median == pytest.approx(1.1)
    assert found.high == pytest.approx(1.8)
    assert (found.trials, found.tried, found.bounded, found.unknown) == (2, 2, 0, 0)


def test_what_was_never_tried_counts_as_its_limit() -> None:
    found = estimate([trial("a"), trial("b")], past("a", 1.0), lambda trial: 5.0)
    assert (found.median, found.high, found.bounded) == (6.0, 6.0, 1)
    assert "1 of 2 trials, never tried before" in found.words()


def test_another_model_is_another_matter() -> None:
    found = estimate([trial("a", "other")], past("a", 1.0), lambda trial: None)
    assert (found.median, found.unknown) == (0.0, 1)
    assert "nothing is known of 1" in found.words()


def test_a_free_task_is_known_to_be_free() -> None:
    assert estimate([trial("a")], past("a", 0.0), lambda trial: None).tried == 1


def test_a_cost_that_is_known_in_part_is_no_cost() -> None:
    result = make_result(usage=Usage(cost=1.0, unpriced=1))
    assert spent([result]) == {}


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.9, 4), (0.75, 3), (1.0, 4), (0.01, 1)])
def test_quantile(share: float, value: float) -> None:
    assert quantile([3, 1, 4, 2], share) == value

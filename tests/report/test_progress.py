"""The live line."""

from __future__ import annotations

import pytest

from pytest_goat.gateway.base import Usage, Waiting
from pytest_goat.report.progress import Progress, progress_line, time_left
from pytest_goat.result import Phases
from tests.support.results import make_results


def state_after(**counts: int) -> Progress:
    state = Progress(total=64, parallel=16)
    for result in make_results(**counts, usage=Usage(4000, 0, 520, 0, 0.01), phases=Phases(total=30.0)):
        state.add(result)
    return state


def test_a_fresh_run() -> None:
    assert progress_line(Progress(total=3)) == "0/3 done, 1 running, 0 passed, 0 tokens"


def test_a_run_under_way() -> None:
    line = progress_line(state_after(passed=10, failed=1, errors=1), width=100)
    assert line == (
        "12/64 done, 16 running, 10 passed, 1 failed, 1 errors, 2m00s left, 54.2k tokens, $0.1200"
    )


def test_what_a_rate_limit_holds_back_is_told() -> None:
    state = state_after(passed=10)
    state.waiting = [Waiting("gpt-5-mini", 3, 11.8)]
    line = progress_line(state, width=100)
    assert line.startswith(
        "10/64 done, 16 running, 10 passed, 3 waiting for gpt-5-mini (rate limit, 12 s), 2m00s left"
    )


@pytest.mark.parametrize("width", [10, 40, 60, 80])
def test_it_never_wraps(width: int) -> None:
    line = progress_line(state_after(passed=10, failed=1, errors=1), width)
    assert len(line) <= width
    assert line.startswith("12/64 done")


def test_time_left_is_rounds_of_the_median_trial() -> None:
    state = Progress(total=10, parallel=4)
    assert time_left(state) is None
    state.passed, state.durations = 3, [1.0, 5.0, 100.0]
    assert time_left(state) == 10.0
    state.passed = 10
    assert time_left(state) is None


def test_skipped_trials_tell_nothing_about_time() -> None:
    state = state_after(skipped=2)
    assert (state.done, state.durations) == (2, [])

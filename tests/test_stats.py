"""The figures: against their definitions, by enumeration, and at their edges."""

from __future__ import annotations

from itertools import combinations
from math import isclose
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.stats import pass_at_k, pass_hat_k, wilson

confidences = st.floats(0.5, 0.999)


@st.composite
def counts(draw: st.DrawFn, min_n: int = 1, max_n: int = 2000) -> tuple[int, int]:
    n = draw(st.integers(min_n, max_n))
    return draw(st.integers(0, n)), n


@st.composite
def repeats(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 8))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


def test_wilson_of_eight_in_ten() -> None:
    lower, upper = wilson(8, 10)
    assert (round(lower, 4), round(upper, 4)) == (0.4902, 0.9433)


def test_nothing_tried_nothing_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(counts(), confidences)
def test_wilson_bounds_are_where_the_score_test_turns(found: tuple[int, int], confidence: float) -> None:
    passed, n = found
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for bound in wilson(passed, n, confidence):
        assert isclose((passed / n - bound) ** 2, z * z * bound * (1 - bound) / n, abs_tol=1e-9)


@given(counts(), confidences)
def test_wilson_has_the_rate_inside_and_exact_ends(found: tuple[int, int], confidence: float) -> None:
    passed, n = found
    lower, upper = wilson(passed, n, confidence)
    assert 0.0 <= lower <= passed / n <= upper <= 1.0
    assert (lower == 0.0) == (passed == 0)
    assert (upper == 1.0) == (passed == n)


@given(counts(), confidences)
def test_wilson_treats_passes_and_failures_alike(found: tuple[int, int], confidence: float) -> None:
    passed, n = found
    lower, upper = wilson(passed, n, confidence)
    mirrored = wilson(n - passed, n, confidence)
    assert mirrored == pytest.approx((1 - upper, 1 - lower))


@given(counts(), st.integers(2, 10))
def test_more_trials_of_the_same_rate_narrow_the_interval(found: tuple[int, int], times: int) -> None:
    passed, n = found
    lower, upper = wilson(passed, n)
    more_lower, more_upper = wilson(passed * times, n * times)
    assert more_upper - more_lower < upper - lower


@given(repeats())
def test_repeats_agree_with_enumerating_every_choice_of_k(found: tuple[int, int, int]) -> None:
    n, c, k = found
    trials = [True] * c + [False] * (n - c)
    choices = list(combinations(trials, k))
    assert pass_at_k(n, c, k) == pytest.approx(fmean(any(choice) for choice in choices))
    assert pass_hat_k(n, c, k) == pytest.approx(fmean(all(choice) for choice in choices))


def test_repeats_of_thousands_are_exact() -> None:
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)
    assert pass_hat_k(10_000, 9_999, 5_000) == pytest.approx(0.5)


@pytest.mark.parametrize(("passed", "n"), [(-1, 2), (3, 2), (0, -1)])
def test_impossible_counts_are_refused(passed: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        wilson(passed, n)
    with pytest.raises(ValueError, match="cannot be"):
        pass_at_k(n, passed, 1)


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_k_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        pass_at_k(3, 1, k)
    with pytest.raises(ValueError, match="between 1 and"):
        pass_hat_k(3, 1, k)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)

"""The figures behind a verdict: pure functions of counts."""

from __future__ import annotations

from functools import lru_cache
from math import comb, sqrt
from statistics import NormalDist


@lru_cache(maxsize=16)
def _quantile(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def wilson(passed: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a pass rate, two-sided: (lower, upper), both in 0..1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927). Without any trial nothing is known: (0, 1). Raises `ValueError` unless 0 <= passed <= n.
    """
    _check_counts(passed, n)
    z = _quantile(confidence)
    if n == 0:
        return 0.0, 1.0
    rate = passed / n
    scale = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * sqrt(rate * (1.0 - rate) / n + z * z / (4 * n * n))
    # At both ends the formula gives 0 and 1 exactly, which floating point misses by a hair.
    lower = 0.0 if passed == 0 else max(0.0, centre - half)
    upper = 1.0 if passed == n else min(1.0, centre + half)
    return lower, upper


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k trials passes, from n trials of which c passed: unbiased.

    Source: Chen et al., "Evaluating large language models trained on code" (2021), equation 1. Raises
    `ValueError` unless 0 <= c <= n and 1 <= k <= n.
    """
    _check_counts(c, n)
    _check_k(n, k)
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """The chance that all of k trials pass (pass^k), from n trials of which c passed: unbiased.

    Source: Yao et al., "tau-bench: a benchmark for tool-agent-user interaction in real-world domains" (2024).
    Raises `ValueError` unless 0 <= c <= n and 1 <= k <= n.
    """
    _check_counts(c, n)
    _check_k(n, k)
    return comb(c, k) / comb(n, k)


def _check_counts(passed: int, n: int) -> None:
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} passed of {n} trials cannot be")


def _check_k(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the number of trials ({n}), not {k}")

"""Repetitions that share the weather: what else the machine does weighs on all kinds alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleaved(kinds: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure every kind once a round, in turning order; gives what each measured, round by round."""
    measured: dict[str, list[T]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in list(kinds)[:: 1 if number % 2 == 0 else -1]:
            measured[kind].append(kinds[kind]())
    return measured


def medians(measured: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {kind: statistics.median(figures) for kind, figures in measured.items()}


def median_difference(more: Sequence[float], less: Sequence[float]) -> float:
    """The median of what `more` has over `less` in the same round: a drift of the machine cancels out."""
    return statistics.median(a - b for a, b in zip(more, less, strict=True))

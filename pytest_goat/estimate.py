"""What a run will cost, from what the same tasks cost before: told before the money is spent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_goat.gateway.base import Usage
from pytest_goat.models.table import Model
from pytest_goat.result import TrialResult
from pytest_goat.task import Task, Trial

HIGH = 0.9
"""The share of earlier trials that cost no more than the high estimate."""

Key = tuple[str, str, str]
"""Suite, task and model."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """USD for all trials of a run. Sums of quantiles: together trials are likelier in the middle, so that the
    high sum is on the safe side.
    """

    median: float
    high: float
    trials: int
    tried: int
    """Trials whose task was tried before with the same model."""
    bounded: int
    """Trials that were not, and count in both sums as the most that their limits allow."""

    @property
    def unknown(self) -> int:
        """Trials of which nothing can be said: no earlier cost, no price, no limit."""
        return self.trials - self.tried - self.bounded

    def words(self) -> str:
        """One line."""
        parts = [f"about ${self.median:.2f}, and with 90 % certainty at most ${self.high:.2f}"]
        if self.bounded:
            parts.append(f"{self.bounded} of {self.trials} trials, never tried before, at their limits")
        if self.unknown:
            parts.append(f"nothing is known of {self.unknown}")
        return "; ".join(parts)


def most_of(row: Model, task: Task) -> float | None:
    """USD that a trial of `task` can cost at most: in every turn the whole context, and the longest answer.

    None where the row has no price. No trial comes near; but it is a bound.
    """
    turn = row.cost(Usage(prompt_tokens=row.context, completion_tokens=row.max_output))
    return None if turn is None else turn * task.limits.max_turns


def spent(results: Iterable[TrialResult]) -> dict[Key, list[float]]:
    """The costs of earlier trials in USD, by what was tried; those not wholly known are left out."""
    found: dict[Key, list[float]] = defaultdict(list)
    for result in results:
        if result.usage.cost is not None and not result.usage.unpriced:
            found[result.suite, result.task_id, result.model].append(result.usage.cost)
    return found


def estimate(
    trials: Sequence[Trial], costs: Mapping[Key, Sequence[float]], most: Callable[[Trial], float | None]
) -> Estimate:
    """What `trials` will cost; `most` gives what one can cost at most in USD, or None."""
    middle = high = 0.0
    tried = bounded = 0
    for trial in trials:
        suite = trial.task.suite.name if trial.task.suite else ""
        if earlier := costs.get((suite, trial.task.id, trial.model)):
            tried += 1
            middle += median(earlier)
            high += quantile(earlier, HIGH)
        elif (limit := most(trial)) is not None:
            bounded += 1
            middle += limit
            high += limit
    return Estimate(middle, high, len(trials), tried, bounded)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed (R. J. Hyndman and Y. Fan,
    "Sample quantiles in statistical packages", 1996, definition 1).
    """
    return sorted(values)[math.ceil(share * len(values)) - 1]

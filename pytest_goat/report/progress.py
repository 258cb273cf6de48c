"""The live line of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from pytest_goat.gateway.base import Usage, Waiting
from pytest_goat.report.text import seconds, spent, tokens
from pytest_goat.result import Status, TrialResult


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    total: int
    """Trials to do in all."""
    parallel: int = 1
    """Trials at once at most."""
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    usage: Usage = Usage()
    durations: list[float] = field(default_factory=list)
    """Seconds of each trial that ran."""
    waiting: Sequence[Waiting] = ()
    """What rate limits hold back now."""

    @property
    def done(self) -> int:
        return self.passed + self.failed + self.errors + self.skipped

    @property
    def running(self) -> int:
        """As many as fit: a slot that is free is filled at once."""
        return min(self.parallel, self.total - self.done)

    def add(self, result: TrialResult) -> None:
        """Count a trial that ended."""
        match result.status:
            case Status.PASSED:
                self.passed += 1
            case Status.FAILED:
                self.failed += 1
            case Status.ERROR:
                self.errors += 1
            case Status.SKIPPED:
                self.skipped += 1
        self.usage += result.usage
        if result.status is not Status.SKIPPED:
            self.durations.append(result.phases.total)


def progress_line(state: Progress, width: int = 80) -> str:
    """One line: done, running, outcomes, rate limits, time left, spend. From the end, what does not fit is
    left out.
    """
    parts = [f"{state.done}/{state.total} done", f"{state.running} running", f"{state.passed} passed"]
    parts += [
        f"{number} {word}" for number, word in ((state.failed, "failed"), (state.errors, "errors")) if number
    ]
    parts += [
        f"{row.calls} waiting for {row.model} (rate limit, {row.seconds:.0f} s)" for row in state.waiting
    ]
    left = time_left(state)
    parts += [f"{seconds(left)} left"] if left else []
    parts.append(f"{tokens(state.usage)} tokens")
    parts += [spent(state.usage)] if state.usage.cost is not None else []
    while len(line := ", ".join(parts)) > width and len(parts) > 1:
        parts.pop()
    return line[:width]


def time_left(state: Progress) -> float | None:
    """Seconds, from the median trial and how many run at once; None before the first trial ended."""
    if not state.durations or state.done >= state.total:
        return None
    rounds = ceil((state.total - state.done) / max(1, state.parallel))
    return rounds * median(state.durations)

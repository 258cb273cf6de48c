"""What the module of one kind of check hands to the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class CannotRun(Exception):
    """The check itself could not be run, which says nothing about the work; `str(error)` is why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `expected` and `seen` are for people: bounded, several lines where that helps."""

    passed: bool
    score: float
    """0..1."""
    expected: str = ""
    seen: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One condition that does not hold."""

    expected: str
    seen: str


PASSED = Finding(True, 1.0)


def finding(problems: list[Problem]) -> Finding:
    """Passed when there are no problems."""
    if not problems:
        return PASSED
    return Finding(
        False,
        0.0,
        "\n".join(problem.expected for problem in problems),
        "\n".join(problem.seen for problem in problems),
    )

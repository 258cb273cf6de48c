"""What a check is given, and what it finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pytest_goat.sandbox.base import Files, Sandbox, Taken
from pytest_goat.task import Task


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found."""

    name: str
    kind: str
    """`run`, `file`, `output` or `judge`."""
    score: float
    """0..1."""
    passed: bool
    weight: float = 1.0
    expected: str = ""
    seen: str = ""
    """For people: what was wanted, and what was there instead. Bounded; "" when it passed."""
    error: str = ""
    """Not "": the check itself could not be run (an infrastructure error), and why."""
    duration: float = 0.0
    """Seconds."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values: exit code, the judge's reason, tests counted."""


Judge = Callable[[str], Awaitable[str]]
"""Asks the judge model one prompt, gives its text. Raises `GatewayError`."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What checks look at, after the agent has ended."""

    task: Task
    sandbox: Sandbox
    answer: str
    """The agent's final text."""
    original: Files
    """The workspace as the task gave it."""
    judge: Judge | None = None
    left: Taken | None = None
    """The workspace as the agent left it, where it has been taken already; None: it is taken when needed."""

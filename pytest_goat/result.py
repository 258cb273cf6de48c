"""What is stored of a trial and of a run. Versioned; readers tolerate what is newer.

The JSON form of a record is its fields by name (`to_json`); `from_json` ignores keys that it does not know
and takes the default for those that are missing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage

VERSION = 1


class Status(StrEnum):
    """How a trial ended."""

    PASSED = "passed"
    FAILED = "failed"
    """Wrong work, or a limit of the agent: says something about the model."""
    ERROR = "error"
    """Infrastructure: says nothing about the model, never counts in a pass rate."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that ended in an infrastructure error and was tried again."""

    cause: Cause
    message: str
    duration: float
    """Seconds."""
    usage: Usage = Usage()
    """Money is spent on errors too."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds spent in each part of the trial's last attempt."""

    open: float = 0.0
    agent: float = 0.0
    checks: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The outcome of one trial."""

    trial_id: str
    """Unique within the run; a file name."""
    node_id: str
    task_id: str
    suite: str
    """"" for a task outside any suite."""
    model: str
    agent: str
    epoch: int
    """1-based."""
    status: Status
    variant: str = "baseline"
    cause: Cause | None = None
    message: str = ""
    """One line on why it did not pass; a note (the agent crashed, yet the work is right) when it did."""
    score: float | None = None
    """0..1, weighted; None when no check was run."""
    unchecked: bool = False
    """The task has no checks: it passed because the agent completed."""
    checks: tuple[CheckResult, ...] = ()
    answer: str = ""
    """The agent's final text, bounded."""
    turns: int = 0
    usage: Usage = Usage()
    """Of all attempts."""
    calls: tuple[ModelCall, ...] = ()
    """What the gateway saw in the last attempt."""
    attempts: tuple[Attempt, ...] = ()
    """Earlier tries, oldest first."""
    phases: Phases = Phases()
    started: str = ""
    """UTC, ISO 8601."""
    tags: tuple[str, ...] = ()
    source: str = ""
    """The prompt file and line."""
    changed: dict[str, str] = field(default_factory=dict)
    """Workspace path -> added, modified or deleted."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the agent told of itself."""
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialResult:
        """The record of a stored trial. Raises `ValueError` when it is none."""
        try:
            known = _known(cls, data)
            known["status"] = Status(known["status"])
            known["cause"] = Cause(known["cause"]) if known.get("cause") else None
            known["checks"] = tuple(CheckResult(**_known(CheckResult, c)) for c in known.get("checks", ()))
            known["calls"] = tuple(_call(c) for c in known.get("calls", ()))
            known["attempts"] = tuple(_attempt(a) for a in known.get("attempts", ()))
            known["usage"] = Usage(**_known(Usage, known.get("usage", {})))
            known["phases"] = Phases(**_known(Phases, known.get("phases", {})))
            known["tags"] = tuple(known.get("tags", ()))
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a trial record: {error}") from error


def _known(record: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(record)}
    return {key: value for key, value in data.items() if key in names}


def _call(data: dict[str, Any]) -> ModelCall:
    known = _known(ModelCall, data)
    known["cause"] = Cause(known["cause"]) if known.get("cause") else None
    known["usage"] = Usage(**_known(Usage, known.get("usage", {})))
    return ModelCall(**known)


def _attempt(data: dict[str, Any]) -> Attempt:
    known = _known(Attempt, data)
    known["cause"] = Cause(known["cause"])
    known["usage"] = Usage(**_known(Usage, known.get("usage", {})))
    return Attempt(**known)

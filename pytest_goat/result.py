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
from pytest_goat.gateway.base import ModelCall, Usage, seconds_waited, union
from pytest_goat.redact import Redactor
from pytest_goat.task import GateRule

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
    trace: str = ""
    """The page of its trace; "" where none is kept."""
    version: int = VERSION

    @property
    def model_seconds(self) -> float:
        """Seconds in which the agent waited for the model; calls side by side count once."""
        return union((call.started + call.waited, call.started + call.duration) for call in self.calls)

    @property
    def waited(self) -> float:
        """Seconds in which a rate limit held calls of the last attempt back: not the agent's own time."""
        return seconds_waited(self.calls)

    def to_json(self) -> dict[str, Any]:
        return _fields(self)

    def redacted(self, redactor: Redactor) -> TrialResult:
        """The same result with every secret value replaced, wherever it stood."""
        return TrialResult.from_json(redactor.value(self.to_json()))

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


@dataclass(frozen=True, slots=True)
class Git:
    """The commit that a run was made from; "" outside a repository."""

    commit: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """The agent of a run."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run was: written when it starts, and again when it ends."""

    run_id: str
    started: str = ""
    """UTC, ISO 8601."""
    finished: str = ""
    """UTC, ISO 8601; "" while it runs, and for ever when it was killed."""
    argv: tuple[str, ...] = ()
    """The command line, secrets taken out by the caller."""
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """pytest-goat, pytest, python, platform."""
    git: Git = field(default_factory=Git)
    models: tuple[str, ...] = ()
    agent: AgentInfo = field(default_factory=AgentInfo)
    backend: str = ""
    """The header line: which sandbox, how isolated."""
    gateway: str = ""
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return _fields(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunRecord:
        """The record of a stored run. Raises `ValueError` when it is none."""
        try:
            known = _known(cls, data)
            known["argv"] = tuple(known.get("argv", ()))
            known["models"] = tuple(known.get("models", ()))
            known["git"] = Git(**_known(Git, known.get("git", {})))
            known["agent"] = AgentInfo(**_known(AgentInfo, known.get("agent", {})))
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a run record: {error}") from error


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of the trials of one suite, model and variant; or, with all three "", of a whole run."""

    suite: str = ""
    model: str = ""
    variant: str = ""
    trials: int = 0
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    unchecked: int = 0
    """Of the passed ones, those of tasks without checks."""
    pass_rate: float | None = None
    """passed / (passed + failed); None when there are none."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Wilson, 95 %."""
    usage: Usage = Usage()
    seconds: float = 0.0
    """Sum of the trials' own time."""
    k: int = 1
    """Trials that counted of the most tried task; from 2 on there are the two figures below."""
    pass_at_k: float | None = None
    """At least one of k trials of a task passes: the mean over tasks with k trials that counted."""
    pass_hat_k: float | None = None
    """All k pass."""

    @property
    def counted(self) -> int:
        """Trials that say something about the model."""
        return self.passed + self.failed

    @property
    def cost_per_passed(self) -> float | None:
        """USD that was spent, on whatever trial, for each one that passed; None when it is not known."""
        return self.usage.cost / self.passed if self.usage.cost is not None and self.passed else None


class Verdict(StrEnum):
    """What a gate says."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"
    """The interval at the asked confidence has the threshold inside."""
    ERRORS = "errors"
    """More infrastructure errors than tolerated."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate, decided."""

    name: str
    rule: GateRule
    verdict: Verdict
    words: str
    """Why, in one line."""
    passed: int = 0
    counted: int = 0
    errors: int = 0
    pass_rate: float | None = None
    """None when nothing counted."""
    interval: tuple[float, float] = (0.0, 1.0)
    """Wilson, at the rule's confidence, else 95 %."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came out of a run."""

    run_id: str
    totals: Group
    groups: tuple[Group, ...] = ()
    """By suite, model and variant."""
    causes: dict[str, int] = field(default_factory=dict)
    """Cause -> trials that ended in an infrastructure error by it."""
    gates: tuple[GateVerdict, ...] = ()
    duration: float = 0.0
    """Seconds by the clock on the wall."""
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return _fields(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunSummary:
        """The summary of a stored run. Raises `ValueError` when it is none."""
        try:
            known = _known(cls, data)
            known["totals"] = _group(known["totals"])
            known["groups"] = tuple(_group(g) for g in known.get("groups", ()))
            known["gates"] = tuple(_gate(g) for g in known.get("gates", ()))
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a run summary: {error}") from error


def _fields(record: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    """Records become dicts. Unlike `dataclasses.asdict`, dicts are neither copied nor walked: an agent's
    `details` may be deep enough to break a recursion.
    """
    if dataclasses.is_dataclass(value):
        return _fields(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


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


def _group(data: dict[str, Any]) -> Group:
    known = _known(Group, data)
    known["usage"] = Usage(**_known(Usage, known.get("usage", {})))
    known["interval"] = tuple(known.get("interval", (0.0, 1.0)))
    return Group(**known)


def _gate(data: dict[str, Any]) -> GateVerdict:
    known = _known(GateVerdict, data)
    known["rule"] = GateRule(**_known(GateRule, known["rule"]))
    known["verdict"] = Verdict(known["verdict"])
    known["interval"] = tuple(known.get("interval", (0.0, 1.0)))
    return GateVerdict(**known)

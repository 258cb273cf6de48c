"""What an agent is to the harness: a command to run, and an outcome to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_goat.errors import Cause
from pytest_goat.gateway.base import Usage
from pytest_goat.sandbox.base import ExecResult, Files, Mount
from pytest_goat.task import Task


@dataclass(frozen=True, slots=True)
class AgentInput:
    """All that an agent is told of its trial."""

    task: Task
    trial_id: str
    workdir: str
    outdir: str
    model: str
    base_url: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Command:
    """What to run in the sandbox."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: dict[str, str] = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    """Put below `outdir` first (the prompt file)."""
    work: Files = field(default_factory=dict)
    """Put below `workdir` first (the oracle's files)."""


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """What the agent says of itself. The verdict never rests on it alone."""

    answer: str
    """Its final text; "" when there is none."""
    completed: bool
    """It came to its own end: no crash, no limit, no error that it told of."""
    cause: Cause | None = None
    """Why not, where the agent or its exit says so."""
    message: str = ""
    turns: int | None = None
    usage: Usage | None = None
    """Its own count: a cross-check on what the gateway saw."""
    trajectory: bytes = b""
    """JSON lines, as the agent wrote them."""
    details: dict[str, Any] = field(default_factory=dict)
    """Version, timings and tool counts, where the agent tells them. JSON values."""


class Agent(Protocol):
    """A program that works in the sandbox."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """A version or content hash that the run's record keeps."""

    @property
    def needs_model(self) -> bool:
        """False for `oracle` and `nop`, which call nobody."""

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What must be there read-only: the program itself."""

    def check(self) -> None:
        """Raises `UserError` when the program is not there or cannot run, with the mend."""

    def command(self, given: AgentInput) -> Command:
        """The command of one trial. Pure."""

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        """Read how it went from its exit, its output and what it left below `outdir`. Pure; never raises."""

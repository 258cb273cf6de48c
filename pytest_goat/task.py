"""A task: one prompt with its workspace, limits and checks; and a trial of it. Frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """Where a task was written."""

    path: Path
    line: int = 0
    """1-based; 0 when the format has no lines."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one trial."""

    max_turns: int = 30
    """Answers of the model."""
    timeout: float = 300.0
    """Seconds that the agent may take."""
    check_timeout: float = 60.0
    """Seconds that one check may take."""
    memory_mb: int = 2048
    processes: int = 256
    disk_mb: int = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """What a task wants of its machine beside the limits. A local sandbox has none to give."""

    image: str | Path = ""
    """A registry's image, as in `python:3.12-slim`; a path: the Dockerfile that makes it; "": ours."""
    setup: str = ""
    """A line for `bash -c`, run as root when the image is made, before the workspace is there."""
    cpu: float | None = None
    """Cores."""
    gpu: str = ""
    """A GPU's name at Modal, as in `T4` or `A10G:2`."""


FileSource = str | Path
"""Text as it is, or the host's file (absolute) whose bytes are meant."""


@dataclass(frozen=True, slots=True)
class Check:
    """One scored condition on the outcome. Base of the four kinds."""

    name: str = ""
    """What reports call it; made from its content when "" was given."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RunCheck(Check):
    """A command that must exit with 0, run after the agent has ended."""

    run: str = ""
    """A line for `bash -c`, run in the workspace."""
    files: Mapping[str, FileSource] = field(default_factory=dict)
    """Hidden files: put into the workspace only now."""
    timeout: float | None = None
    """Seconds; None: the task's `check_timeout`."""
    trust: tuple[str, ...] = ()
    """Files that configure a test runner or shadow a module, which the agent may write here all the same."""


@dataclass(frozen=True, slots=True)
class FileCheck(Check):
    """Conditions on one file of the workspace; all that are given must hold."""

    file: str = ""
    """Path relative to the workspace."""
    exists: bool = True
    """False: it must not be there (`absent: true` in a prompt file)."""
    contains: tuple[str, ...] = ()
    matches: str | None = None
    """Regular expression, searched in the text."""
    equals: str | None = None
    """The whole text; a missing or extra newline at the end makes no difference."""


@dataclass(frozen=True, slots=True)
class OutputCheck(Check):
    """Conditions on the agent's final text; all that are given must hold."""

    contains: tuple[str, ...] = ()
    matches: str | None = None
    equals: str | None = None
    json_equals: Any = None
    """A JSON value that the text (or the one JSON value in it) must equal; see `has_json`."""
    json_schema: Mapping[str, Any] | None = None
    """JSON Schema that it must satisfy."""
    has_json: bool = False
    """True when `json_equals` was given, be it null."""


@dataclass(frozen=True, slots=True)
class JudgeCheck(Check):
    """A rubric that a model answers through the gateway: a score from 0 to 1 with a reason."""

    rubric: str = ""
    files: tuple[str, ...] = ()
    """Workspace files that the judge is shown beside the final text."""
    min_score: float = 0.5
    """The check passes from this score on."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Proves that the checks can pass: what the `oracle` agent does."""

    run: str = ""
    """A line for `bash -c`, run in the workspace; "" when files alone are the solution."""
    files: Mapping[str, FileSource] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateRule:
    """The condition of a suite, or of the command line, on pass rates."""

    pass_rate: float | None = None
    """0..1."""
    max_errors: int = 0
    """Infrastructure errors tolerated."""
    confidence: float | None = None
    """0..1; None: the observed rate decides. Given: the Wilson interval must lie on one side."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A folder with a `goat.yaml`."""

    name: str
    """The folder, relative to pytest's rootdir, POSIX; "." for the rootdir itself."""
    root: Path
    gate: GateRule | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Task keys, validated; those of enclosing suites are in it already."""
    ignore: tuple[str, ...] = ()
    """Globs, relative to `root`, of what holds no prompt files."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt with its workspace, limits and checks."""

    id: str
    prompt: str
    source: Source
    checks: tuple[Check, ...] = ()
    threshold: float = 1.0
    """Weighted score from which the trial passes; 1: every check must."""
    files: Mapping[str, FileSource] = field(default_factory=dict)
    """Workspace: relative path -> content."""
    workspace: Path | None = None
    """Workspace: a folder of the host that is copied; `files` lie over it."""
    limits: Limits = field(default_factory=Limits)
    machine: Machine = Machine()
    tags: tuple[str, ...] = ()
    solution: Solution | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    suite: Suite | None = None
    description: str = ""
    """For people."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One execution of one task by one agent with one model."""

    id: str
    """Unique within the run; a file name."""
    node_id: str
    task: Task
    model: str
    epoch: int = 1

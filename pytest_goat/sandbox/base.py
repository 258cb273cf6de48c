"""What a sandbox is: put, exec, take, close. Every backend gives exactly this.

The promises, which the conformance suite holds every backend to:

* `exec` returns when the command has ended and *everything it started is dead*.
* Only `workdir` and `outdir` survive from one `exec` to the next: home and tmp start empty each time.
* A command sees no environment but the one it is given, plus PATH, HOME, TMPDIR and LANG of the sandbox.
* What comes out is regular files only: no link is followed, no device, FIFO or setuid bit comes out.
* `close` never raises, may be called twice, and leaves no process and no file behind.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pytest_goat.errors import Cause, SandboxError, UserError
from pytest_goat.task import Machine

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """One regular file on its way in or out."""

    data: bytes
    executable: bool = False


Files = Mapping[str, File]
"""Relative POSIX path -> file. A path that is absolute or has `..` is refused by every sandbox."""


def parts_of(path: str) -> list[str]:
    """The components of a relative path. Raises `UserError` for any other kind of path."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise UserError(f"file path {path!r}: must be relative, without '..', and name something")
    return parts


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host, there read-only for every command (the agent's program)."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds on what one sandbox may use."""

    memory: int = 2048 * MB
    """Bytes of memory of the whole process tree."""
    processes: int = 256
    """Processes and threads alive at once."""
    file_size: int = 256 * MB
    """Bytes of one file."""
    disk: int = 1024 * MB
    """Bytes of everything in `workdir` and `outdir`; tmp and home have a quarter of it each."""
    output: int = 4 * MB
    """Bytes kept of each of stdout and stderr; what comes after is dropped and the result says so."""
    open_files: int = 1024
    """Open file descriptors of one process."""


class NoRoom(SandboxError):
    """Files cannot be put, because of what is in the sandbox already."""

    def __init__(self, message: str) -> None:
        super().__init__(Cause.SANDBOX_LIMIT, message)


Attach = Callable[[socket.socket, bool], None]
"""Given a bound and listening TCP socket to serve the gateway on, and whether only this sandbox can reach
it (then no key is needed). The callee owns the socket from then on."""


Extra = Callable[[], Awaitable[float]]
"""Tells by how many seconds the time of a command is prolonged, as far as is known when it is asked."""

_LOOK = 0.5
"""Seconds between two looks whether a command is given more time, at least."""


async def time_is_over(timeout: float, extra: Extra) -> None:
    """Return when the time of a command is over: `timeout` seconds, and what `extra` gives besides."""
    given = 0.0
    await asyncio.sleep(timeout)
    while (more := await extra()) > given:
        await asyncio.sleep(max(more - given, _LOOK))
        given = more


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What is wanted of a sandbox."""

    trial_id: str
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    mounts: tuple[Mount, ...] = ()
    attach: Attach | None = None
    """Local backends make the one way out of the sandbox, a listening socket, and hand it to this.
    None: nothing at all can be reached from inside."""
    hosts: tuple[str, ...] = ()
    """Host names that a sandbox in the cloud may reach: the gateway's. Local ones reach `attach` alone."""
    machine: Machine = field(default_factory=Machine)
    lifetime: float = 3600.0
    """Seconds after which a sandbox in the cloud ends by itself, whatever becomes of us."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended."""

    exit_code: int
    """The command's own; -N when signal N ended it; -9 when we did (see `timed_out`, `limit`)."""
    stdout: bytes
    stderr: bytes
    duration: float
    """Seconds."""
    timed_out: bool = False
    limit: str = ""
    """The sandbox limit that ended the command ("memory"), or ""."""
    truncated: bool = False
    """stdout or stderr was longer than `SandboxLimits.output`."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What `take` brought out."""

    files: Files
    refused: tuple[str, ...] = ()
    """Paths that are no regular file, and why: "link: symlink"."""
    truncated: bool = False
    """There was more than the bounds allow."""


class Sandbox(Protocol):
    """One isolated machine. All methods but `close` raise `SandboxError` when it is lost."""

    @property
    def workdir(self) -> str:
        """Absolute path, inside, of the workspace: where the agent works."""

    @property
    def outdir(self) -> str:
        """Absolute path, inside, of a folder for records (prompt, result, trajectory) beside the work."""

    async def put(self, files: Mapping[str, File | None], root: str | None = None) -> None:
        """Make `files` so below `root` (`workdir` by default, or `outdir`): None means that nothing is there.

        What stands in the way (a link, a folder where a file goes) is replaced, never followed. Raises
        `NoRoom` when they do not fit, at once or from the next `exec` or `take`.
        """

    async def exec(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        extra: Extra | None = None,
    ) -> ExecResult:
        """Run `argv` (no shell) for at most `timeout` seconds in `cwd` (`workdir` by default).

        `extra` is asked for more time when that is over, until it gives no more; it raises nothing. A program
        that is not there ends as exit code 127, as in a shell.
        """

    async def take(
        self,
        paths: Sequence[str] | None = None,
        root: str | None = None,
        *,
        max_bytes: int = 64 * MB,
        max_files: int = 10_000,
    ) -> Taken:
        """The regular files below `root`: those at `paths` (a folder stands for all below it), or all."""

    async def close(self) -> None:
        """End everything in it and give back what it used."""


class Backend(Protocol):
    """What makes sandboxes. One per process; `open` may be called many times at once."""

    @property
    def name(self) -> str:
        """`local` or `modal`."""

    @property
    def description(self) -> str:
        """One header line: which isolation is on, with its limits. Known after `start`."""

    async def start(self) -> None:
        """Get ready. Raises `UserError` where this backend cannot isolate here, with the mend."""

    def handover(self) -> dict[str, str]:
        """What the backends of other processes of this run need not make again; known after `start`."""

    async def open(self, spec: SandboxSpec) -> Sandbox:
        """A fresh sandbox. Raises `SandboxError` when none can be had."""

    async def sweep(self, worker: str = "") -> int:
        """End what another process of this run, or every one, has left; how many sandboxes that were."""

    async def stop(self) -> None:
        """Close every sandbox still open, and what `start` made."""

    @property
    def left(self) -> str:
        """After `stop`: which sandboxes could not be ended, and what ends them; "" when none is left."""

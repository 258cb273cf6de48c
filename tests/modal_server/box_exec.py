"""One command in a sandbox, whatever runs it, and what a machine for commands is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.modal_server.box_stream import Input, Output


@dataclass(frozen=True)
class Command:
    """What is to be run. `keep_stdout` and `keep_stderr` say whether these are wanted or go to /dev/null."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    keep_stdout: bool = True
    keep_stderr: bool = True
    merge: bool = False
    """stderr goes where stdout goes."""
    lossy: bool = False
    """Only the newest output is kept, as of the entrypoint of a sandbox."""


ENTRYPOINT_BOUND = 1 << 20
"""Bytes kept of each stream of an entrypoint. Modal keeps the newest part; how much is not known."""


class Exec:
    """A command that was started. It ends with `finish`, or is lost with its sandbox."""

    def __init__(self, command: Command) -> None:
        def output() -> Output:
            return Output(ENTRYPOINT_BOUND, lossy=True) if command.lossy else Output()

        self.stdout = output()
        self.stderr = output()
        self.stdin = Input()
        self.done = asyncio.Event()
        self.status = 0
        """As `os.waitstatus_to_exitcode` has it: the exit code, or -N for signal N."""
        self.timed_out = False
        self.lost = False
        self.kill: Callable[[], None] = lambda: None
        """Ask for its end; `finish` follows."""

    @property
    def running(self) -> bool:
        return not self.done.is_set()

    def finish(self, status: int) -> None:
        """It has ended by itself, or was killed."""
        if self.running:
            self.status = status
            self._close()

    def lose(self) -> None:
        """Its sandbox is gone: nobody will learn how it ended."""
        self.lost = True
        self._close()

    def _close(self) -> None:
        self.stdin.close()
        self.stdout.end()
        self.stderr.end()
        self.done.set()


class Machine(Protocol):
    """Where the commands of one sandbox run."""

    def start(self, command: Command) -> Exec:
        """A program that is not there ends as exit code 127, as in a shell."""

    async def kill(self) -> None:
        """End everything in it, and be done when that is dead. May be called twice."""

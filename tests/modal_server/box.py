"""A box: the real machine behind one sandbox, as the server has it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_goat.sandbox.local import syscalls
from tests.modal_server.box_exec import Command, Exec
from tests.modal_server.box_line import Heard, Line
from tests.modal_server.box_stream import PipeReader, PipeWriter
from tests.modal_server.box_ways import Ways


class Box:
    """Runs commands until `kill`. Takes over the line to its init, a descriptor of the init's process, and
    the sockets that listen inside.
    """

    def __init__(self, line: Line, process: int, listeners: Sequence[int]) -> None:
        self._line, self._process = line, process
        self._line.on_message = self._heard
        self._ways = Ways(listeners)
        self._execs: dict[int, tuple[Exec, list[PipeReader]]] = {}
        self._numbers = itertools.count(1)
        self._dead = asyncio.Event()
        self.on_death: Callable[[], None] = lambda: None
        """Called when it has ended, for whatever reason."""
        self.pid = _pid_of(process)
        """Of its init, on the host."""
        asyncio.get_running_loop().add_reader(process, self._died)

    def start(self, command: Command) -> Exec:
        """Have the init start a command."""
        number = next(self._numbers)
        started = Exec(command)
        stdin = started.stdin = PipeWriter()
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        readers: list[PipeReader] = []
        stdout = stderr = nowhere
        if command.keep_stdout:
            readers.append(PipeReader(started.stdout))
            stdout = readers[-1].writer
        if command.merge:
            stderr = stdout
        elif command.keep_stderr:
            readers.append(PipeReader(started.stderr))
            stderr = readers[-1].writer
        self._execs[number] = started, readers
        order = {"start": number, "argv": list(command.argv), "env": dict(command.env), "cwd": command.cwd}
        self._line.send(order, [stdin.reader, stdout, stderr])
        for fd in {stdin.reader, stdout, stderr, nowhere}:
            os.close(fd)
        started.kill = lambda: self._line.send({"kill": number})
        return started

    def _heard(self, heard: Heard) -> None:
        message, _ = heard
        if "ended" in message:
            started, readers = self._execs.pop(message["ended"])
            for reader in readers:
                reader.finish()
            started.finish(message["status"])

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process)
        self._dead.set()
        self.on_death()

    async def kill(self) -> None:
        """End everything in it, and be done when that is dead. May be called twice."""
        if not self._dead.is_set():
            syscalls.pidfd_kill(self._process)
            await self._dead.wait()
        if self._process >= 0:
            os.close(self._process)
            self._process = -1
            self._line.close()
            for _, readers in self._execs.values():
                for reader in readers:
                    reader.close()
            await self._ways.close()


def _pid_of(process: int) -> int:
    fields = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{process}").read_text().splitlines())
    return int(fields["Pid"])

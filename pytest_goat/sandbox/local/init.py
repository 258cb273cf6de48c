"""The init of a sandbox: serves `open` once, then `exec`, on its socket until the harness hangs up.

It is the only process of a sandbox that lives on between commands. After every command it ends whatever that
left running, before it answers.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from pytest_goat.sandbox.local import wire

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_LONGEST = 3600.0
"""Seconds of one wait; the kernel's own bound is 24 days."""


class Cell(Protocol):
    """What confines the commands of one sandbox: one class a tier."""

    @property
    def watch(self) -> float:
        """Seconds between looks at a limit of the tree that the kernel does not hold; 0: it holds all."""

    @property
    def preexec(self) -> Callable[[], None] | None:
        """What a forked child has still to do before it becomes a command."""

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        """Furnish the sandbox as the harness wants it.

        The answer says the `root` below which its folders are, and has descriptors of the folder that holds
        workspace and records, of the init's process, and of the listener where one was wanted.
        """

    def started(self, pid: int) -> None:
        """Let the kernel end this command, before anything else, when memory runs out."""

    def refresh(self) -> None:
        """Make home and tmp empty again, where they are not."""

    def exceeded(self) -> str:
        """The limit of the tree that is exceeded now, "" when none is."""

    def end_all(self) -> None:
        """Kill and reap everything but the init."""

    def leave(self) -> None:
        """Leave nothing behind: the init is about to end."""


def become(foreign: Sequence[int], fds: Sequence[int], make_cell: Callable[[], Cell]) -> NoReturn:
    """Turn this freshly forked process into an init.

    `foreign` are the parent's descriptors; `fds` are the own socket and control groups to become a member of.
    """
    try:
        for fd in foreign:
            os.close(fd)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control, *groups = fds
        for group in groups:
            os.write(group, b"0")
            os.close(group)
        serve(socket.socket(fileno=control), make_cell)
    finally:
        os._exit(0)  # whatever happened, this process must not go on as its parent


def refuse(fds: Sequence[int], error: OSError) -> None:
    """Tell the harness why there is no init for the socket and groups that it gave."""
    control, *groups = fds
    with socket.socket(fileno=control) as sock:
        wire.send(sock, {"error": str(error)})
    for group in groups:
        os.close(group)


def serve(control: socket.socket, make_cell: Callable[[], Cell]) -> None:
    """Answer requests until the end of `control`. For a process that has nothing else to do."""
    if os.getpid() != 1:  # process 1 must not listen to signals: commands could send them
        signal.signal(signal.SIGTERM, lambda *_: control.shutdown(socket.SHUT_RDWR))
    cell: Cell | None = None
    try:
        cell = make_cell()
        runner = _Runner(control, cell)
        message, fds = wire.receive(control)
        answer, given = cell.open(message, fds)
        wire.send(control, answer, given)
        for fd in fds + given:
            os.close(fd)
        while True:
            request, streams = wire.receive(control)
            if "stop" in request:
                continue  # it came when the command had just ended
            wire.send(control, runner.run(request, streams))
            cell.refresh()
    except EOFError:
        pass  # closed
    except Exception as error:
        wire.send(control, {"error": str(error)})
    finally:
        if cell is not None:
            cell.leave()


class _Runner:
    """Runs one command at a time."""

    def __init__(self, control: socket.socket, cell: Cell) -> None:
        self._control, self._cell = control, cell
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(control, select.POLLIN)

    def run(self, request: wire.Message, streams: Sequence[int]) -> wire.Message:
        """Run a command to its end and return how it ended, when all it started is dead."""
        started = time.monotonic()
        reason = ""
        command = self._start(request, streams)
        if isinstance(command, int):
            code = command
        else:
            self._cell.started(command.pid)
            # Without a time, the harness says when it is over.
            timeout = math.inf if request["timeout"] is None else request["timeout"]
            code, reason = self._wait(command.pid, started + timeout)
            command.returncode = code  # it is reaped already
        self._cell.end_all()
        return {"exit_code": code, "reason": reason, "duration": time.monotonic() - started}

    def _start(self, request: wire.Message, streams: Sequence[int]) -> subprocess.Popen[bytes] | int:
        """The started command, or the exit code that a shell would give."""
        stdin, stdout, stderr = streams
        try:
            return subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=self._cell.preexec,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            missing = isinstance(error, FileNotFoundError)
            problem = f"{request['argv'][0]}: {error.strerror if isinstance(error, OSError) else error}"
            with contextlib.suppress(OSError):  # when nobody reads, the exit code says it
                os.write(stderr, f"{problem}\n".encode(errors="replace"))
            return _NOT_FOUND if missing else _NOT_EXECUTABLE
        finally:
            for fd in streams:
                os.close(fd)

    def _wait(self, child: int, deadline: float) -> tuple[int, str]:
        """The exit code of `child`, and why it has to be ended ("" when it ended)."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return -signal.SIGKILL, "timeout"
            pause = min(left, self._cell.watch or _LONGEST)
            events = dict(self._poll.poll(pause * 1000))
            if self._control.fileno() in events:
                wire.receive(self._control)  # raises when the harness has hung up
                return -signal.SIGKILL, "timeout"
            if self._woken in events:
                os.read(self._woken, 512)
            if (status := _reap(child)) is not None:
                return os.waitstatus_to_exitcode(status), ""
            if self._cell.watch and (limit := self._cell.exceeded()):
                return -signal.SIGKILL, limit


def _reap(child: int) -> int | None:
    """Reap all that have ended; the wait status of `child` when it is one of them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            return None

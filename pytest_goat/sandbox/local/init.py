"""The init of a sandbox: serves `open` and `exec` on its socket until the harness hangs up.

It is the only process of a sandbox that lives on between commands, and the only one with any privilege.
After every command it ends whatever that left running, before it answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pytest_goat.sandbox.local import wire

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_WATCH_INTERVAL = 0.05
"""Seconds between looks at the memory of the tree, where no cgroup bounds it."""


class Cell(Protocol):
    """What confines the commands of one sandbox: one class a tier."""

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        """Furnish the sandbox as the harness wants it; returns the answer."""

    def refresh(self) -> None:
        """Make home and tmp empty again, where they are not."""

    def confine(self, limits: wire.Message) -> None:
        """In the child that is to become a command: give up everything."""

    def memory(self) -> int:
        """Bytes that the processes of the sandbox use now."""

    def end_all(self) -> None:
        """Kill and reap everything but the init."""


def serve(control: socket.socket, make_cell: Callable[[], Cell]) -> None:
    """Answer requests until the end of `control`. For a process that has nothing else to do."""
    try:
        cell = make_cell()
        message, fds = wire.receive(control)
        limits = message["limits"]
        answer, given = cell.open(message, fds)
        wire.send(control, answer, given)
        _close(fds + given)
        runner = _Runner(control, cell, limits)
        while True:
            message, fds = wire.receive(control)
            wire.send(control, runner.run(message, fds))
            cell.refresh()
    except EOFError:
        pass  # closed: with this process everything in the sandbox ends
    except Exception as error:
        wire.send(control, {"error": str(error)})


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


class _Runner:
    """Runs one command at a time."""

    def __init__(self, control: socket.socket, cell: Cell, limits: wire.Message) -> None:
        self._control, self._cell, self._limits = control, cell, limits
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(control, select.POLLIN)

    def run(self, request: wire.Message, streams: Sequence[int]) -> wire.Message:
        """Run a command to its end and return how it ended, when all it started is dead."""
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            self._become(request, streams)
        _close(streams)
        status, reason = self._wait(child, started + request["timeout"])
        self._cell.end_all()
        code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
        return {"exit_code": code, "reason": reason, "duration": time.monotonic() - started}

    def _wait(self, child: int, deadline: float) -> tuple[int | None, str]:
        """The wait status of `child`, or None and why it has to be ended."""
        watched = self._limits["watch_memory"]
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None, "timeout"
            events = dict(self._poll.poll((min(left, _WATCH_INTERVAL) if watched else left) * 1000))
            if self._control.fileno() in events:
                raise EOFError("the harness hung up")
            if self._woken in events:
                os.read(self._woken, 512)
            if (status := _reap(child)) is not None:
                return status, ""
            if watched and self._cell.memory() > watched:
                return None, "memory"

    def _become(self, request: wire.Message, streams: Sequence[int]) -> None:
        """Turn this forked child into the command. Never returns."""
        code = _NOT_EXECUTABLE
        try:
            os.setsid()
            for target, fd in enumerate(streams):
                os.dup2(fd, target)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.chdir(request["cwd"])
            self._cell.confine(self._limits)
            os.execvpe(request["argv"][0], request["argv"], request["env"])  # noqa: S606 - no shell is the point
        except FileNotFoundError as error:
            code = _NOT_FOUND
            _complain(f"{error.filename or request['argv'][0]}: not found\n")
        except BaseException as error:
            _complain(f"{request['argv'][0]}: {error}\n")
        finally:
            os._exit(code)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # when nobody reads, the exit code says it
        os.write(2, text.encode(errors="replace"))


def _reap(child: int) -> int | None:
    """Reap all that have ended; the wait status of `child` when it is one of them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            return None

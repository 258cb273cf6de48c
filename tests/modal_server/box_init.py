"""Process 1 of a box: furnishes it, starts what it is told to, and reaps.

Its socket carries, from the server: once the order for the box, then commands to start and to kill. Back go
the listening sockets of the box, and how each command ended. When the socket ends, so does the box.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import NoReturn

from pytest_goat.sandbox.local import syscalls, wire
from tests.modal_server.box_mounts import Root

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def become(control: socket.socket) -> NoReturn:
    """Turn this freshly forked process into the init that serves `control`."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        # What is left to its default does nothing to process 1; Python's own handler would.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _Init(control).serve()
    except EOFError:
        pass
    except Exception as error:
        with contextlib.suppress(OSError):
            wire.send(control, {"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


class _Init:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._commands: dict[int, int] = {}
        """Process -> number of the command."""
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        order, fds = wire.receive(self._control)
        listeners = _furnish(order, fds)
        given = [listener.detach() for listener in listeners]
        process = syscalls.pidfd_open(os.getpid())
        wire.send(self._control, {}, [process, *given])
        for fd in (process, *given):
            os.close(fd)
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._obey()

    def _obey(self) -> None:
        message, fds = wire.receive(self._control)
        if "kill" in message:
            self._kill(message["kill"])
        else:
            self._start(message, fds)

    def _start(self, message: wire.Message, streams: Sequence[int]) -> None:
        stdin, stdout, stderr = streams
        try:
            process = subprocess.Popen(
                message["argv"],
                env=message["env"],
                cwd=message["cwd"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            with contextlib.suppress(OSError):
                os.write(stderr, f"{message['argv'][0]}: {error}\n".encode(errors="replace"))
            missing = isinstance(error, FileNotFoundError)
            wire.send(
                self._control, {"ended": message["start"], "status": (_NOT_EXECUTABLE, _NOT_FOUND)[missing]}
            )
        else:
            self._commands[process.pid] = message["start"]
            process.returncode = 0  # so that it is reaped by us alone
        finally:
            for fd in streams:
                os.close(fd)

    def _kill(self, number: int) -> None:
        """End a command and what is of its session's first group; what it made a daemon lives on."""
        for process, known in self._commands.items():
            if known == number:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process, status = ended
                number = self._commands.pop(process, None)
                if number is not None:
                    code = os.waitstatus_to_exitcode(status)
                    wire.send(self._control, {"ended": number, "status": code})


def _furnish(order: wire.Message, fds: Sequence[int]) -> list[socket.socket]:
    """Make the box as ordered. Returns sockets that listen on the ordered ports of its loopback."""
    data, *volumes = fds
    syscalls.unshare(
        syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    )
    socket.sethostname("modal")
    syscalls.loopback_up()
    root = Root()
    root.add_links(order["links"])
    for path, mode, offset, size in order["files"]:
        root.add_file(path, mode, data, offset, size)
    os.close(data)
    root.cover(order["trees"])
    for folder in order["folders"]:
        root.add_folder(folder)
    for tree, path in zip(volumes, order["volumes"], strict=True):
        root.attach(tree, path)
    root.enter()
    return [socket.create_server(("127.0.0.1", port), backlog=64) for port in order["ports"]]

"""The zygote of the tiers without namespaces: forks an init for every sandbox, and leaves nothing behind."""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH106
import contextlib
import functools
import itertools
import os
import select
import signal
import socket

from pytest_goat.sandbox.local import init, landlock, seccomp, syscalls, wire
from pytest_goat.sandbox.local.cell_plain import PlainCell, end_descendants


def run(settings: wire.Message, harness: int, zygote: socket.socket) -> None:
    """Serve until the harness is gone. Raises `OSError` where the wanted isolation is not to be had."""
    program = _program(settings)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    wire.send(zygote, {"landlock": landlock.version()})
    poll = select.poll()
    poll.register(zygote, select.POLLIN)
    poll.register(harness, select.POLLIN)
    inits: set[int] = set()
    try:
        for number in itertools.count():
            if {fd for fd, _ in poll.poll()} != {zygote.fileno()}:
                return
            _, fds = wire.receive(zygote)
            user = settings["command_id"] + number % settings["command_ids"]
            try:
                pid = os.fork()
            except OSError as error:
                init.refuse(fds, error)
                continue
            if pid == 0:
                make_cell = functools.partial(PlainCell, settings, user, program)
                init.become([harness, zygote.detach()], fds, make_cell)
            inits = _alive({*inits, pid})
            for fd in fds:
                os.close(fd)
    finally:
        for pid in inits:
            os.kill(pid, signal.SIGTERM)  # should a child of the harness still hold the other end
            os.waitpid(pid, 0)
        end_descendants()
        with contextlib.suppress(OSError):
            os.rmdir(settings["temporary"])


def _program(settings: wire.Message) -> bytes | None:
    """The system call filter, when the kernel can do what the tier needs."""
    if settings["engine"] == "none":
        return None
    if (version := landlock.version()) < landlock.ENOUGH:
        raise OSError(f"Landlock of this kernel has version {version}, and {landlock.ENOUGH} is needed")
    program = seccomp.build(memory_files=settings["memory_files"], strict=True)
    seccomp.try_out(program)
    return program


def _alive(inits: set[int]) -> set[int]:
    """Reap what has ended, orphans too, and return those of `inits` that have not."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            inits.discard(pid)
    return inits

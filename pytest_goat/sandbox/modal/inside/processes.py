"""The user's processes: who they are, and their end."""

# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

from .layout import USER

END_WITHIN = 5.0
"""Seconds for the end of what a command left running."""
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 38, 36
_LIBC = ctypes.CDLL(None)


class Process(NamedTuple):
    pid: int
    threads: int
    memory: int
    """Bytes of its own."""


def become_reaper() -> None:
    """Let the user's orphans become children of this process, which then reaps them."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def become_user() -> None:
    """Make this process one of the user's, whom no setuid program gives rights back."""
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def end_all() -> bool:
    """Kill all of the user's processes; False when some are still alive after `END_WITHIN` seconds.

    One kill(-1) as that user hits all at once, however fast they fork. Whoever kills the killer first is
    found, and killed by root.
    """
    deadline = time.monotonic() + END_WITHIN
    while time.monotonic() < deadline:
        _kill_as_user()
        left = list(alive())
        if not left:
            return True
        for process in left:
            _kill(process.pid)
    return False


def _kill_as_user() -> None:
    killer = os.fork()
    if killer == 0:
        try:
            become_user()
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    patience = time.monotonic() + 0.1
    while reap(killer) is None:
        if time.monotonic() > patience:  # somebody has stopped it
            _kill(killer)
        time.sleep(0.001)


def reap(child: int) -> int | None:
    """Reap all that have ended, orphans too; the wait status of `child` when it is one of them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            return None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alive() -> Iterator[Process]:
    """The user's processes.

    Told by `status`, whose user is right even where a process hides behind PR_SET_DUMPABLE, which makes root
    the owner of its files in /proc.
    """
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/status", errors="replace") as file:
                told = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue  # it has ended
        if told["State"].split()[0] in "ZX" or str(USER) not in told["Uid"].split():
            continue
        kilobytes = sum(
            int(told.get(field, "0").split()[0])
            for field in (("RssAnon", "RssShmem") if "RssAnon" in told else ("VmRSS",))
        )
        yield Process(int(name), int(told.get("Threads", "1")), kilobytes * 1024)

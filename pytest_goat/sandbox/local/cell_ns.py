"""The cell of tier `ns`."""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH123, PTH208
import contextlib
import os
import socket
from collections.abc import Sequence

from pytest_goat.sandbox.local import layout, limits, mounts, namespaces, seccomp, syscalls, trees, wire

_WATCH = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NamespaceCell:
    """Commands in namespaces of their own.

    Made in the freshly forked init, which is confined when this is done: before it knows of any trial.
    """

    preexec = None

    def __init__(self, zygote: socket.socket, settings: wire.Message, kept: mounts.Kept, program: bytes):
        self._zygote, self._bounds, self._host_id = zygote, settings["limits"], settings["host_id"]
        namespaces.isolate_init()
        self._box = mounts.furnish(self._bounds["disk"], self._bounds["volatile"], kept)
        # The way out. Without one that is wanted it is closed before the first command.
        self._listener = socket.create_server(("127.0.0.1", layout.GATEWAY_PORT), backlog=64)
        self._mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._process = syscalls.pidfd_open(os.getpid())
        self._proc = namespaces.enter_command_namespace()
        syscalls.empty_bounding_set()
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(program)
        self._fresh = {folder: trees.state(folder) for folder in layout.VOLATILE}

    @property
    def watch(self) -> float:
        return _WATCH if self._bounds["watch_memory"] else 0

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        bounds, before = message["limits"], self._bounds
        self._bounds = bounds
        other_size = bounds["disk"] != before["disk"]
        if other_size or fds:
            emptied = layout.VOLATILE if other_size else ()
            self._ask(mounts.Change(emptied, bounds["volatile"], bounds["disk"], message["targets"]), fds)
        limits.apply(bounds)
        given = [self._box, self._process]
        if message["listen"]:
            given.append(self._listener.detach())
        else:
            self._listener.close()
        return {"root": "", "owner": self._host_id}, given

    def _ask(self, change: mounts.Change, copies: Sequence[int] = ()) -> None:
        """Have the zygote mount what the init cannot. Raises `OSError` in its words."""
        answer, tell = os.pipe()
        wire.send(self._zygote, change._asdict(), [self._mounts, tell, *copies])
        os.close(tell)
        with open(answer, encoding="utf-8") as words:
            if problem := words.read():
                raise OSError(problem)
        self._fresh.update({folder: trees.state(folder) for folder in change.emptied})

    def started(self, pid: int) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            namespaces.prefer_to_kill(pid, self._proc)

    def refresh(self) -> None:
        used = [folder for folder in layout.VOLATILE if trees.state(folder) != self._fresh[folder]]
        if used:
            self._ask(mounts.Change(used, self._bounds["volatile"]))

    def exceeded(self) -> str:
        pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return "memory" if sum(_resident(pid) for pid in pids) > self._bounds["watch_memory"] else ""

    def end_all(self) -> None:
        namespaces.end_all()

    def leave(self) -> None:
        """With the init, process 1, the kernel ends everything."""


def _resident(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended

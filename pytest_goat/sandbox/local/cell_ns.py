"""The cell of tier `ns`."""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH116, PTH123, PTH208
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from pytest_goat.sandbox.local import layout, limits, namespaces, seccomp, syscalls, wire

_PAGE = os.sysconf("SC_PAGE_SIZE")


class NamespaceCell:
    """Commands in namespaces of their own. Made in the freshly forked init."""

    preexec: Callable[[], None] | None = None

    def __init__(self, zygote: socket.socket, owner: int, saved: Mapping[str, str], program: bytes) -> None:
        self._zygote, self._owner, self._saved, self._program = zygote, owner, saved, program
        namespaces.isolate_init()
        self._bounds: wire.Message = {}
        self._fresh: dict[str, tuple[int, int]] = {}
        self._mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        self._bounds = message["limits"]
        box = namespaces.furnish(self._bounds["disk"], dict(zip(message["targets"], fds, strict=True)))
        for folder in layout.VOLATILE:
            namespaces.mount_volatile(folder, self._bounds["volatile"], self._saved)
            self._fresh[folder] = _state(folder)
        given = [box, os.pidfd_open(os.getpid())]
        if message["listen"]:
            given.append(socket.create_server(("127.0.0.1", layout.GATEWAY_PORT), backlog=64).detach())
        return {"root": "", "owner": self._owner}, given

    def confine(self) -> None:
        self._proc = namespaces.enter_command_namespace()
        limits.apply(self._bounds)
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(self._program)

    def started(self, pid: int) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            namespaces.write_to(f"{pid}/oom_score_adj", "1000", self._proc)

    def refresh(self) -> None:
        used = [folder for folder in layout.VOLATILE if _state(folder) != self._fresh[folder]]
        if not used:
            return
        done, tell = os.pipe()
        wire.send(self._zygote, dict.fromkeys(used, self._bounds["volatile"]), [self._mounts, tell])
        os.close(tell)
        os.read(done, 1)
        os.close(done)
        for folder in used:
            self._fresh[folder] = _state(folder)

    def exceeded(self) -> str:
        pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return "memory" if sum(_resident(pid) for pid in pids) > self._bounds["watch_memory"] else ""

    def end_all(self) -> None:
        namespaces.end_all()

    def leave(self) -> None:
        """With the init, process 1, the kernel ends everything."""


def _state(folder: str) -> tuple[int, int]:
    """Changes with every change of the folder itself: entries, mode, attributes."""
    found = os.stat(folder)
    return found.st_ctime_ns, found.st_mode


def _resident(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended

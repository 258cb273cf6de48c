"""The cell of tier `ns`."""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH116, PTH123, PTH208
import os
import socket
from collections.abc import Mapping, Sequence

from pytest_goat.sandbox.local import layout, limits, namespaces, seccomp, syscalls, wire

_PAGE = os.sysconf("SC_PAGE_SIZE")


class NamespaceCell:
    """Commands in namespaces of their own. Made in the freshly forked init."""

    def __init__(self, saved: Mapping[str, str], program: bytes) -> None:
        self._saved, self._program = saved, program
        self._proc = namespaces.isolate_init()
        self._volatile_size = 0
        self._fresh: dict[str, tuple[int, int, int]] = {}

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        box = namespaces.furnish(message["limits"]["disk"], dict(zip(message["mounts"], fds, strict=True)))
        given = [box, os.pidfd_open(os.getpid())]
        self._volatile_size = message["limits"]["disk"] // 4
        for folder in layout.VOLATILE:
            self._mount(folder)
        if message["listen"]:
            listener = socket.create_server(("127.0.0.1", layout.GATEWAY_PORT), backlog=64)
            given.append(listener.detach())
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        return {}, given

    def refresh(self) -> None:
        for folder in layout.VOLATILE:
            if _state(folder) != self._fresh[folder]:
                syscalls.detach(folder)
                self._mount(folder)

    def _mount(self, folder: str) -> None:
        namespaces.mount_volatile(folder, self._volatile_size, self._saved)
        self._fresh[folder] = _state(folder)

    def confine(self, bounds: wire.Message) -> None:
        namespaces.enter_command_namespace(self._proc)
        limits.apply(bounds)
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.close_from(3)
        seccomp.install(self._program)

    def memory(self) -> int:
        pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return sum(_resident(f"/proc/{pid}/statm") for pid in pids)

    def end_all(self) -> None:
        namespaces.end_all()


def _state(folder: str) -> tuple[int, int, int]:
    found = os.stat(folder)
    return found.st_ctime_ns, found.st_mode, found.st_nlink


def _resident(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended

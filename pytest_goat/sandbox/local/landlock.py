"""The Landlock domain of tier `landlock` (Linux: Documentation/userspace-api/landlock.rst).

It bounds files, TCP ports, abstract sockets and signals. Alone it is no boundary for the network: UDP, MPTCP,
TCP fast open and sockets with a path pass it by. The strict system call filter closes these.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from pytest_goat.sandbox.local import syscalls

ENOUGH = 4
"""The first version of the interface that knows TCP ports (Linux 6.7)."""
_SCOPES_SINCE = 6
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ALL = 1 | 2
"""Abstract unix sockets and signals."""


def version() -> int:
    """The version of the interface; 0 where there is none."""
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))


def _call(number: int, *args: object) -> int:
    return int(syscalls.libc.syscall(number, *args))


def restrict(readable: Iterable[str], listed: Iterable[str], writable: Iterable[str], port: int) -> None:
    """Confine this process, for good: files as given, no TCP but to `port` (0: none).

    Of what is `listed` only the names are seen. A listening socket gets a port that the kernel chooses.
    NO_NEW_PRIVS must be set.
    """
    known = version()
    rights = (1 << (15 if known < 5 else 16)) - 1
    scopes = struct.pack("=Q", _SCOPE_ALL) if known >= _SCOPES_SINCE else b""
    wanted = struct.pack("=QQ", rights, _BIND_TCP | _CONNECT_TCP) + scopes
    rules = syscalls.checked(_call(_CREATE_RULESET, wanted, len(wanted), 0), "landlock")
    try:
        for path in readable:
            _allow(rules, path, _READ)
        for path in listed:
            _allow(rules, path, _READ_DIR)
        for path in writable:
            _allow(rules, path, rights)
        _allow_port(rules, 0, _BIND_TCP)
        if port:
            _allow_port(rules, port, _CONNECT_TCP)
        syscalls.checked(_call(_RESTRICT_SELF, rules, 0), "landlock")
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, fd)
        syscalls.checked(_call(_ADD_RULE, rules, _RULE_PATH, rule, 0), f"landlock {path}")
    finally:
        os.close(fd)


def _allow_port(rules: int, port: int, rights: int) -> None:
    rule = struct.pack("=QQ", rights, port)
    syscalls.checked(_call(_ADD_RULE, rules, _RULE_PORT, rule, 0), f"landlock port {port}")

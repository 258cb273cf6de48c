"""Which user the harness is to the file system while it touches a sandbox's files."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_UNUSED = 200_000
_libc = ctypes.CDLL(None, use_errno=True)


def sandbox_id() -> int:
    """The host's user id that commands run as.

    Root must not be it: the host's root owns /proc/sys and is exempt from the process limit. An id that
    nobody has is taken, from those that there are (a rootless container has few).
    """
    if os.geteuid() != 0:
        return os.geteuid()
    extents = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    first, _, count = max(extents, key=lambda extent: extent[2])
    if first <= _UNUSED < first + count:
        return _UNUSED
    return first + count - 1


@contextlib.contextmanager
def acting_as(owner: int) -> Iterator[None]:
    """Be `owner` to the file system within; this thread only (setfsuid(2))."""
    if owner == os.geteuid():
        yield
        return
    group = _libc.setfsgid(owner)
    user = _libc.setfsuid(owner)
    try:
        yield
    finally:
        _libc.setfsuid(user)
        _libc.setfsgid(group)

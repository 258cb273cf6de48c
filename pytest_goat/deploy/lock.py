"""One process of this machine at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_goat.errors import UserError

_PAUSE = 0.2


@contextlib.contextmanager
def locked(name: str, deadline: float, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock `name` of this user while the block runs; it ends with the process, too.

    `waits` is called once when another process holds it. Raises `UserError` after `deadline` seconds.
    """
    path = _folder() / f"{name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _take(handle, path, deadline, waits)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path, deadline: float, waits: Callable[[], None]) -> None:
    end = time.monotonic() + deadline
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise UserError(f"Another process has held {path} for {deadline:g} s: end it.") from None
        if not told:
            waits()
            told = True
        time.sleep(_PAUSE)


def _folder() -> Path:
    """A folder of this user's alone. Raises `UserError` when another user made it."""
    folder = Path(tempfile.gettempdir()) / f"pytest-goat-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user: remove it, or set TMPDIR")
    return folder

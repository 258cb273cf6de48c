"""Puts and removes files, and counts what they take, in folders that somebody hostile has written to.

Everything is reached through directory descriptors, and no link is followed.
"""

# ruff: noqa: PTH208

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from .layout import HOME, OUTDIR, SHARED, USER, WORKDIR
from .refusal import Refusal

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_ENTRIES = 200_000
"""Files and folders that are looked at when the used disk is counted."""

Put = tuple[str, str, int, bool]
"""Root, path, size (-1: nothing is to be there), whether executable."""


def put_all(puts: Sequence[Put], files: Sequence[bytes | None]) -> None:
    """Make the files as `puts` says. Raises `Refusal` for one that cannot be made."""
    for (root, path, _, executable), data in zip(puts, files):
        try:
            _put(root, path.split("/"), data, 0o755 if executable else 0o644)
        except OSError as error:
            raise Refusal("put", f"{path}: {error.strerror}") from error


def _put(root: str, parts: Sequence[str], data: bytes | None, mode: int) -> None:
    at = os.open(root, FOLDER)
    try:
        for name in parts[:-1]:
            inner = _enter(at, name, make=data is not None)
            if inner < 0:
                return
            os.close(at)
            at = inner
        remove(at, parts[-1])
        if data is not None:
            _write(at, parts[-1], data, mode)
    finally:
        os.close(at)


def _write(at: int, name: str, data: bytes, mode: int) -> None:
    file = os.open(name, _WRITE, 0o600, dir_fd=at)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        os.fchown(file, USER, USER)
        os.fchmod(file, mode)
    finally:
        os.close(file)


def _enter(at: int, name: str, *, make: bool) -> int:
    """Open the folder `name`; what else is there gives way when one is to be made, else the answer is -1."""
    try:
        folder = os.open(name, FOLDER, dir_fd=at)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        if not make:
            return -1
        remove(at, name)
        os.mkdir(name, 0o755, dir_fd=at)
        folder = os.open(name, FOLDER, dir_fd=at)
        os.fchown(folder, USER, USER)
    # The user may have taken the own rights away, and then could not come in.
    os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | 0o700)
    return folder


def remove(at: int, name: str) -> None:
    """Remove whatever `name` is in the folder `at`, with all that is in it; nothing there is fine too.

    Folders in a folder are moved up beside it before it goes, so that no nesting is too deep.
    """
    token, moved, todo = os.urandom(8).hex(), 0, [name]
    while todo:
        name = todo.pop()
        try:
            os.unlink(name, dir_fd=at)
            continue
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            folder = os.open(name, FOLDER, dir_fd=at)
        try:
            for inner in os.listdir(folder):
                try:
                    os.unlink(inner, dir_fd=folder)
                except IsADirectoryError:
                    moved += 1
                    beside = f".goat-{token}-{moved}"
                    if _lifted(folder, inner, at, beside):
                        todo.append(beside)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=at)


def _lifted(folder: int, name: str, to: int, new: str) -> bool:
    """Move the folder `name` up; False when it could only be removed where it is."""
    try:
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove(folder, name)  # it is of a lower layer of the image, and so of no hostile depth
        return False
    return True


def refresh() -> None:
    """Empty what must not survive a command."""
    root = os.open("/", FOLDER)
    try:
        remove(root, HOME[1:])
    finally:
        os.close(root)
    for name in SHARED:
        try:
            folder = os.open(name, FOLDER)
        except OSError:
            continue  # this image has none, or it is a link to another of them
        try:
            for inner in os.listdir(folder):
                if os.stat(inner, dir_fd=folder, follow_symlinks=False).st_uid == USER:
                    remove(folder, inner)
        finally:
            os.close(folder)


def used() -> int:
    """Bytes on disk of everything in `WORKDIR` and `OUTDIR`."""
    total, looks, todo = 0, _MAX_ENTRIES, [WORKDIR, OUTDIR]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    looks -= 1
                    if looks < 0:
                        return total
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue  # nested deeper than a path can be long
    return total

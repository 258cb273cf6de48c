"""Opening and removing files that somebody hostile made: through directory descriptors, following no link.

The caller owns the files, so rights that were taken away can be given back.
"""

from __future__ import annotations

# pathlib knows no directory descriptors.
# ruff: noqa: PTH101, PTH116, PTH208
import contextlib
import os
import stat

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def state(folder: str) -> tuple[int, int]:
    """What changes with every change of the folder itself: entries, mode, attributes."""
    found = os.stat(folder)
    return found.st_ctime_ns, found.st_mode


def open_own(at: int, name: str, flags: int) -> int:
    """Open the file or folder `name` in the folder `at`, although its rights may say no."""
    try:
        return os.open(name, flags, dir_fd=at)
    except PermissionError:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        mode = os.fstat(handle).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise PermissionError(f"{name} is special")
        # Through the descriptor, so that nothing can be swapped in between.
        rights = 0o700 if stat.S_ISDIR(mode) else 0o600
        os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(mode) & 0o777 | rights)
        return os.open(f"/proc/self/fd/{handle}", flags & ~os.O_NOFOLLOW)
    finally:
        os.close(handle)


def make_writable(folder: int) -> None:
    """Give the owner all rights on an open folder."""
    mode = os.fstat(folder).st_mode
    if mode & 0o700 != 0o700:
        os.fchmod(folder, stat.S_IMODE(mode) | 0o700)


def remove(at: int, name: str) -> None:
    """Remove whatever `name` is in the folder `at`, with all that is in it; nothing there is fine too.

    Folders in a folder are moved up beside it before it goes: however deep they are nested, neither the
    stack nor the number of open descriptors grows.
    """
    make_writable(at)
    todo = [name]
    token = os.urandom(8).hex()
    moved = 0
    while todo:
        name = todo.pop()
        try:
            os.unlink(name, dir_fd=at)
            continue
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            folder = open_own(at, name, FOLDER)
        try:
            make_writable(folder)
            for inner in os.listdir(folder):
                with contextlib.suppress(IsADirectoryError):
                    os.unlink(inner, dir_fd=folder)
                    continue
                moved += 1
                _move_folder(folder, inner, at, f".goat-{token}-{moved}")
                todo.append(f".goat-{token}-{moved}")
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=at)


def _move_folder(source: int, name: str, target: int, new: str) -> None:
    folder = open_own(source, name, FOLDER)
    try:
        make_writable(folder)  # a folder that changes its parent must be writable itself
    finally:
        os.close(folder)
    os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)

"""Takes files out of folders that somebody hostile has written to: regular ones, and not too many.

Everything is reached through directory descriptors, and no link is followed.
"""

# ruff: noqa: PTH123

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from .trees import FOLDER

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 100
"""Folders within folders. One descriptor is open for each while they are walked."""
_MAX_REFUSED = 100
_KINDS = {
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class Haul:
    """What was taken, within bounds."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.bytes_left, self.max_files = max_bytes, max_files
        # Empty folders and refused entries are no files, but looking at them takes time all the same.
        self.looks_left = 4 * max_files + 100
        self.files: list[tuple[str, int, bool]] = []
        """Path, size, whether executable."""
        self.taken: set[str] = set()
        """Paths of `files`: what is asked for twice comes once."""
        self.data: list[bytes] = []
        self.refused: list[tuple[str, str]] = []
        """Path, and why."""
        self.truncated = False

    def refuse(self, path: str, why: str) -> None:
        if len(self.refused) < _MAX_REFUSED:
            self.refused.append((path, why))
        else:
            self.truncated = True


def take(root: str, paths: Sequence[str] | None, haul: Haul) -> None:
    """Fill `haul` with the regular files below the folder `root`, or with those at and below `paths`."""
    if paths is None:
        _take_folder(os.open(root, FOLDER), "", haul, 0)
        return
    for path in paths:
        *folders, name = path.split("/")
        at = os.open(root, FOLDER)
        try:
            for folder in folders:
                inner = _enter(at, folder, path, haul)
                if inner < 0:
                    break
                os.close(at)
                at = inner
            else:
                _take_any(at, name, path, haul, 0)
        finally:
            os.close(at)


def _enter(at: int, name: str, path: str, haul: Haul) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=at)
    except FileNotFoundError:
        return -1
    except OSError:
        haul.refuse(path, f"{name} is not a folder")
        return -1


def _take_folder(folder: int, prefix: str, haul: Haul, depth: int) -> None:
    """Take all below the folder, whose descriptor is closed at the end."""
    try:
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if haul.looks_left <= 0:
                    haul.truncated = True
                    break
                haul.looks_left -= 1
                names.append(entry.name)
        for name in sorted(names):
            _take_any(folder, name, prefix + name, haul, depth)
    finally:
        os.close(folder)


def _take_any(at: int, name: str, path: str, haul: Haul, depth: int) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        haul.refuse(ascii(path), "name is not UTF-8")
        return
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            if depth >= _MAX_DEPTH:
                haul.refuse(path, f"nested deeper than {_MAX_DEPTH} folders")
            else:
                _take_folder(os.open(name, FOLDER, dir_fd=at), f"{path}/", haul, depth + 1)
        elif not stat.S_ISREG(found.st_mode):
            haul.refuse(path, _KINDS.get(stat.S_IFMT(found.st_mode), "special file"))
        elif found.st_nlink != 1:
            haul.refuse(path, "hard link")
        else:
            _take_file(at, name, path, haul)
    except FileNotFoundError:
        return
    except OSError as error:
        haul.refuse(path, error.strerror or "unreadable")


def _take_file(at: int, name: str, path: str, haul: Haul) -> None:
    if path in haul.taken:
        return
    fd = os.open(name, _READ, dir_fd=at)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if found.st_size > haul.bytes_left or len(haul.files) >= haul.max_files:
            haul.truncated = True
            return
        data = file.read(found.st_size)
    haul.bytes_left -= len(data)
    haul.taken.add(path)
    haul.files.append((path, len(data), bool(found.st_mode & stat.S_IXUSR)))
    haul.data.append(data)

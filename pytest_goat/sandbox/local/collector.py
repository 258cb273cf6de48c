"""Files into a sandbox and out of it, while what is there may be hostile.

Everything goes through directory descriptors, one path component at a time, and no component is ever followed
when it is a link: what a command planted, or swaps while we look, leads nowhere. Only regular files with one
name come out, and never their setuid bits. Both directions are generators that yield between files, so that
the event loop can do other things meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_goat.sandbox.base import File, parts_of
from pytest_goat.sandbox.local.trees import FOLDER, make_writable, open_own, remove

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_LOOKS = 500
"""Entries of a folder that are read in one go."""
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


def put(root: int, files: Mapping[str, File | None]) -> Generator[None]:
    """Make `files` below the folder `root`; None: nothing is there. Replaces what is in the way."""
    for parts, file in [(parts_of(path), file) for path, file in files.items()]:
        yield from _put_one(root, parts, file)


def _put_one(root: int, parts: Sequence[str], file: File | None) -> Generator[None]:
    *folders, name = parts
    with contextlib.ExitStack() as opened:
        at = root
        for folder in folders:
            at = _enter(at, folder, make=file is not None)
            if at < 0:
                return
            opened.callback(os.close, at)
        remove(at, name)
        if file is None:
            return
        fd = os.open(name, _WRITE, 0o600, dir_fd=at)
        opened.callback(os.close, fd)
        os.fchmod(fd, 0o755 if file.executable else 0o644)
        left = memoryview(file.data)
        while left:
            left = left[os.write(fd, left[:_CHUNK]) :]
            yield


def _enter(at: int, name: str, *, make: bool) -> int:
    """Open the folder `name`; what else is there gives way when one is to be made, else the answer is -1."""
    try:
        return open_own(at, name, FOLDER)
    except FileNotFoundError:
        if not make:
            return -1
    except NotADirectoryError:  # a link counts as no directory
        if not make:
            return -1
        make_writable(at)
        os.unlink(name, dir_fd=at)
    make_writable(at)
    os.mkdir(name, 0o755, dir_fd=at)
    return os.open(name, FOLDER, dir_fd=at)


@dataclass(slots=True)
class Haul:
    """What `take` has found so far."""

    max_bytes: int
    max_files: int
    files: dict[str, File] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    truncated: bool = False
    bytes_left: int = field(init=False)
    looks_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes_left = self.max_bytes
        # Empty folders and refused entries are no files, but looking at them takes time all the same.
        self.looks_left = 4 * self.max_files + 100

    def refuse(self, path: str, why: str) -> None:
        if len(self.refused) < _MAX_REFUSED:
            self.refused.append(f"{path}: {why}")
        else:
            self.truncated = True


def take(root: int, paths: Sequence[str] | None, haul: Haul) -> Generator[None]:
    """Fill `haul` with the regular files below the folder `root`, or with those at and below `paths`."""
    if paths is None:
        yield from _take_folder(os.dup(root), "", haul, 0)
        return
    for path in paths:
        *folders, name = parts_of(path)
        with contextlib.ExitStack() as opened:
            at = root
            for folder in folders:
                if (at := _enter_to_take(at, folder, path, haul)) < 0:
                    break
                opened.callback(os.close, at)
            else:
                yield from _take_any(at, name, "/".join([*folders, name]), haul, 0)


def _enter_to_take(at: int, name: str, path: str, haul: Haul) -> int:
    try:
        return open_own(at, name, FOLDER)
    except FileNotFoundError:
        return -1
    except OSError:
        haul.refuse(path, f"{name} is not a folder")
        return -1


def _take_folder(folder: int, prefix: str, haul: Haul, depth: int) -> Generator[None]:
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
                if len(names) % _LOOKS == 0:
                    yield
        for name in sorted(names):
            yield from _take_any(folder, name, f"{prefix}{name}", haul, depth)
    finally:
        os.close(folder)


def _take_any(at: int, name: str, path: str, haul: Haul, depth: int) -> Generator[None]:
    try:
        path.encode()
    except UnicodeEncodeError:
        haul.refuse(ascii(path), "name is not UTF-8")
        return
    try:
        mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            if depth >= _MAX_DEPTH:
                haul.refuse(path, f"nested deeper than {_MAX_DEPTH} folders")
                return
            yield from _take_folder(open_own(at, name, FOLDER), f"{path}/", haul, depth + 1)
        elif stat.S_ISREG(mode):
            yield from _take_file(at, name, path, haul)
        else:
            haul.refuse(path, _KINDS.get(stat.S_IFMT(mode), "special file"))
    except FileNotFoundError:
        return
    except OSError as error:  # it was swapped for something else since the look
        haul.refuse(path, error.strerror or "unreadable")


def _take_file(at: int, name: str, path: str, haul: Haul) -> Generator[None]:
    fd = open_own(at, name, _READ)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            haul.refuse(path, _KINDS.get(stat.S_IFMT(found.st_mode), "special file"))
        elif found.st_nlink != 1:
            haul.refuse(path, "hard link")
        elif found.st_size > haul.bytes_left or len(haul.files) >= haul.max_files:
            haul.truncated = True
        else:
            data = bytearray()
            while len(data) < found.st_size and (chunk := os.read(fd, _CHUNK)):
                data += chunk
                yield
            # It may have grown since; what was promised by its size is what counts.
            kept = bytes(data[: found.st_size])
            haul.bytes_left -= len(kept)
            haul.files[path] = File(kept, executable=bool(found.st_mode & stat.S_IXUSR))
            yield
    finally:
        os.close(fd)

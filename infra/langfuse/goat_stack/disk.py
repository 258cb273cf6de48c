"""Files that are either whole or not there, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from goat_stack.errors import StackError

CHUNK = 1 << 20


@dataclass(frozen=True)
class FileFact:
    """What a manifest says of one file: size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileFact:
        """Read the whole of `path`."""
        with path.open("rb") as file:
            return cls(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Open a file that appears as `target` only when the block has ended well and the bytes are on the disk.

    Raises StackError when there is no room or the folder refuses; nothing is left behind then.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StackError(_explain(error, target)) from error


def write_file(target: Path, data: bytes) -> None:
    """Make `target` hold `data`; raises StackError as `whole_file` does."""
    with whole_file(target) as file:
        file.write(data)


def write_packed(target: Path, data: bytes) -> None:
    """Make `target` hold `data`, gzipped: a segment that was closed early is mostly zeros."""
    write_file(target, gzip.compress(data, compresslevel=1))


def copy_file(source: Path, target: Path) -> FileFact:
    """Copy `source` to `target` and say what was copied; raises StackError as `whole_file` does."""
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as reader, whole_file(target) as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    return FileFact(size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """Put a rename inside `folder` on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_file(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Write `text` so that only `owner` (user and group ids; default: who runs this) can ever read it."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        if owner:
            os.fchown(file.fileno(), *owner)


def fresh_folder(path: Path, owner: tuple[int, int] | None = None) -> Path:
    """Make `path` an empty folder that only `owner` may enter, whatever was there before."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(mode=0o700, parents=True)
    if owner:
        os.chown(path, *owner)
    return path


def _explain(error: OSError, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room left in {target.parent}: free some, or give it more ({target.name} is not kept)"
    return f"cannot write {target}: {error.strerror}"

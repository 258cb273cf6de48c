"""A small record that all processes of this user on this machine share: a file, changed under flock(2)."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class SharedRecord(Generic[T]):
    """A record of `kind`, a dataclass of plain values that all have a default, in the file `name`.

    `folder` holds the file; one for each user by default. Raises `OSError` where the folder cannot be made or
    belongs to somebody else.
    """

    def __init__(self, name: str, kind: type[T], folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir(), f"pytest-goat-{os.getuid()}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise OSError(f"{folder} belongs to another user")
        self._path = folder / name
        self._kind = kind

    @property
    def written(self) -> bool:
        """Whether somebody has ever changed it."""
        return self._path.exists()

    @contextmanager
    def changed(self) -> Iterator[T]:
        """The record, to be read and changed while no other process does."""
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            record = self._read(file)
            yield record
            file.truncate(0)
            json.dump(asdict(record), file)

    def _read(self, file: IO[str]) -> T:
        file.seek(0)
        try:
            return self._kind(**json.load(file))
        except (ValueError, TypeError):
            return self._kind()  # new, cut off in the middle, or of another version

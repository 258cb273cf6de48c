"""What the last reply told of a folder, kept in step with what is put since: nobody need ask again."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence

from pytest_goat.sandbox.base import File, Taken, parts_of
from pytest_goat.sandbox.modal.wire import Haul

HARD_LINK = "hard link"
"""Why a file with a second name was refused."""


class Known:
    """All that is in one folder. Knows nothing from the moment on that it cannot know all."""

    def __init__(self, haul: Haul | None = None) -> None:
        self._files: dict[str, File] = {}
        self._refused: dict[str, str] = {}
        self.complete = haul is not None and not haul.truncated
        if haul is not None and self.complete:
            self._files, self._refused = dict(haul.files), dict(haul.refused)

    def put(self, path: str, file: File | None) -> None:
        """Do what putting `file` at `path` does."""
        if not self.complete:
            return
        above = set(_parents(path))
        if file is None and not above.isdisjoint(self._files.keys() | self._refused.keys()):
            return  # what is above is no folder, so nothing is there
        gone = [
            other
            for other in (*self._files, *self._refused)
            if other == path or other in above or other.startswith(f"{path}/")
        ]
        for other in gone:
            self._files.pop(other, None)
            # A file that loses its other name can be taken from now on.
            if self._refused.pop(other, "") == HARD_LINK:
                self.complete = False
        if file is not None:
            self._files[path] = file

    def take(self, paths: Sequence[str] | None, max_bytes: int, max_files: int) -> Taken:
        """As `Sandbox.take`."""
        files: dict[str, File] = {}
        refused: dict[str, str] = {}
        truncated = False
        for path in self._wanted(paths, refused):
            file = self._files[path]
            if path in files:
                continue
            if len(file.data) > max_bytes or len(files) >= max_files:
                truncated = True
            else:
                files[path] = file
                max_bytes -= len(file.data)
        return Haul(files, refused, truncated).taken()

    def _wanted(self, paths: Sequence[str] | None, refused: dict[str, str]) -> Iterator[str]:
        """The files at and below `paths`, in order; fills `refused`."""
        if paths is None:
            refused.update(self._refused)
            yield from sorted(self._files, key=lambda path: path.split("/"))
            return
        for path in ("/".join(parts_of(path)) for path in paths):
            for above in _parents(path):
                if above in self._files or above in self._refused:
                    refused[path] = f"{posixpath.basename(above)} is not a folder"
            refused.update({one: why for one, why in self._refused.items() if _is_in(one, path)})
            yield from sorted(one for one in self._files if _is_in(one, path))


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path

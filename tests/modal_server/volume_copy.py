"""A container's own copy of a volume, as Modal has it: changes are its own until they are committed.

Another container's commits come in by `reload`; the newest commit of a file wins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

Stamp = tuple[int, int]
"""Time of the last change in ns, and size: by which two states of a file are told apart."""


class VolumeCopy:
    """`folder` is made, and filled from `volume`, the folder with what is committed."""

    def __init__(self, volume: Path, folder: Path) -> None:
        self._volume = volume
        self.folder = folder
        folder.mkdir(parents=True)
        self._known: dict[str, Stamp] = {}
        """Files as they were when both sides were alike last."""
        self.reload()

    def commit(self) -> None:
        """Put what was changed and removed in the copy into the volume."""
        self._carry(self.folder, self._volume)

    def reload(self) -> None:
        """Take what was changed and removed in the volume into the copy, which commits its own changes."""
        self._carry(self.folder, self._volume)
        self._carry(self._volume, self.folder)

    def _carry(self, source: Path, target: Path) -> None:
        now = dict(_stamps(source))
        for name, stamp in now.items():
            if self._known.get(name) != stamp:
                _copy(source / name, target / name)
        for name in self._known.keys() - now.keys():
            (target / name).unlink(missing_ok=True)
        self._known = now


def _stamps(folder: Path) -> Iterator[tuple[str, Stamp]]:
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # a program at work removed it meanwhile
            if not name.startswith(".copying-"):
                yield path.relative_to(folder).as_posix(), (status.st_mtime_ns, status.st_size)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, with its times, by which `_stamps` finds both sides alike."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".copying-{target.name}")
    try:
        shutil.copy2(source, draft, follow_symlinks=False)
    except FileNotFoundError:
        return
    draft.replace(target)

"""Backups of one store in one epoch: whole, checked by their sums, or not there.

    <epoch>/<store>/<generation>/<files>
    <epoch>/<store>/<generation>/manifest.json    written last, by rename: without it there is no backup

A generation begins with a full backup; later snapshots add files to it and replace its manifest.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from goat_stack.disk import FileFact, copy_file, write_file
from goat_stack.epochs import Epoch, ready_epochs
from goat_stack.errors import StackError

log = logging.getLogger("goat_stack")

KEPT = 2
"""How many generations of a store stay in an epoch: the newest, and one to fall back on."""


@dataclass(frozen=True)
class Backup:
    """A whole backup on the volume: its epoch's folder, its own, and its files, the oldest first."""

    epoch: Path
    folder: Path
    files: Sequence[Path]


@dataclass(frozen=True)
class Snapshot:
    """What a store hands over to be kept: new files, and a pattern of the kept ones that they replace."""

    files: Sequence[Path]
    replaces: str = ""


@dataclass
class Generations:
    """Writes the backups of the store called `store` into this stack's epoch."""

    epoch: Epoch
    store: str
    _number: int = 0
    _facts: dict[str, FileFact] = field(default_factory=dict)

    def begin(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` as a new full backup, then drop generations that are no longer needed.

        Raises StackError when that fails; what was kept before is as it was.
        """
        folder = self._folder(self._number + 1)
        try:
            self._facts = self._publish(folder, snapshot, {})
        except StackError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._number += 1
        self._prune()

    def add(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` with what this generation has; raises StackError when that fails."""
        folder = self._folder(self._number)
        replaced = fnmatch.filter(self._facts, snapshot.replaces)
        kept = {name: fact for name, fact in self._facts.items() if name not in replaced}
        self._facts = self._publish(folder, snapshot, kept)
        for name in replaced:
            (folder / name).unlink(missing_ok=True)

    def oldest(self) -> Sequence[Path]:
        """The files of the oldest generation that this epoch keeps."""
        folder = list(_whole_generations(self.epoch.folder / self.store))[-1]
        return [folder / name for name in _manifest(folder)]

    def _folder(self, number: int) -> Path:
        return self.epoch.folder / self.store / f"{number:06d}"

    def _publish(self, folder: Path, snapshot: Snapshot, kept: dict[str, FileFact]) -> dict[str, FileFact]:
        with self.epoch.lock:
            self.epoch.check()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StackError(f"cannot write {folder}: {error.strerror}") from error
            facts = kept | {path.name: copy_file(path, folder / path.name) for path in snapshot.files}
            manifest = {"files": {name: asdict(fact) for name, fact in facts.items()}}
            write_file(folder / "manifest.json", json.dumps(manifest, indent=1).encode())
            self.epoch.volume.commit()
            return facts

    def _prune(self) -> None:
        with self.epoch.lock:
            whole = list(_whole_generations(self.epoch.folder / self.store))
            for folder in whole[KEPT:]:
                shutil.rmtree(folder, ignore_errors=True)
            if whole[KEPT:]:
                self.epoch.volume.commit()


def find_backup(volume: Path, store: str) -> Backup | None:
    """The newest backup of `store` that is whole: newest epoch first, then newest generation.

    Each damaged one is named in the log and passed over. None when there is no backup at all; raises
    StackError when there are backups and none is whole: an empty store in its place would hide the loss.
    """
    damaged = []
    for epoch in ready_epochs(volume):
        for folder in _whole_generations(epoch / store):
            problem = _damage(folder)
            if not problem:
                return Backup(epoch, folder, [folder / name for name in _manifest(folder)])
            log.error("backup %s is damaged (%s): trying the one before", folder.relative_to(volume), problem)
            damaged.append(folder)
    if damaged:
        raise StackError(
            f"none of the {len(damaged)} backups of {store} on the volume is whole. To begin with an empty "
            f"one, move {volume / 'epochs'} away, and look there for what can be saved"
        )
    return None


def _whole_generations(folder: Path) -> Iterator[Path]:
    """Those that have their manifest, newest first."""
    for manifest in sorted(folder.glob("*/manifest.json"), reverse=True):
        yield manifest.parent


def _manifest(folder: Path) -> dict[str, FileFact]:
    read = json.loads((folder / "manifest.json").read_text())
    return {name: FileFact(**fact) for name, fact in read["files"].items()}


def _damage(folder: Path) -> str:
    """What is wrong with a backup; "" when each file is as its manifest says."""
    try:
        for name, fact in _manifest(folder).items():
            if FileFact.of(folder / name) != fact:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error)
    return ""

"""Where a run is read from: the results folder or the volume."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pytest_goat.errors import UserError
from pytest_goat.store.folder import FolderStore, StoredRun, UnknownRun
from pytest_goat.store.volume import VolumeStore

NO_FOLDER = "no .goat/results here or above: `pytest benchmarks` makes one, --results names another"


class Store(Protocol):
    """What can be read of runs, wherever they are."""

    def runs(self) -> list[str]: ...

    def resolve(self, name: str = "latest") -> str: ...

    def load(self, run_id: str) -> StoredRun: ...

    def glance(self, run_id: str) -> StoredRun: ...

    def place(self, run_id: str) -> str: ...


def find_runs(folder: Path | None, volume: VolumeStore | None) -> Store:
    """The store to list: that of `folder` where it has runs, else the volume.

    `folder` is None where there is none or the volume is meant; `volume` where Modal is not configured
    or the folder is meant. Raises `UserError` when both are.
    """
    if folder is not None:
        store = FolderStore(folder)
        if volume is None or store.runs():
            return store
    if volume is None:
        raise UserError(NO_FOLDER)
    return volume


def find_run(name: str, folder: Path | None, volume: VolumeStore | None) -> tuple[Store, str]:
    """The store that has the run `name`, and its id: that of `folder`, else the volume; None as above.

    Raises `UserError` when neither has it, and when `name` fits several runs of the first that has any.
    """
    if folder is None:
        store = find_runs(None, volume)
        return store, store.resolve(name)
    here = FolderStore(folder)
    try:
        return here, here.resolve(name)
    except UnknownRun as unknown:
        if volume is None:
            raise
        try:
            return volume, volume.resolve(name)
        except UserError as error:
            raise UserError(f"{unknown}\n  {error}") from None

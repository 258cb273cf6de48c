"""Reads the results in the volume `goat-results`, which has the layout of the folder store.

What was read is kept in a folder of the same layout, so a second look is quick: a run that has ended and has
its summary does not change and costs no call; of another one, only records that changed are read again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import UserError
from pytest_goat.store.folder import RECORD, SUMMARY, FolderStore, StoredRun, which_run, write_whole
from pytest_goat.store.remote import Entry, ResultsVolume, VolumeUnavailable
from pytest_goat.store.spool import has_ended

READERS = 32
"""Files that are read at once."""

WHOLE = ".whole"
"""In a kept run's folder: all records of an ended run are there."""

T = TypeVar("T")


class VolumeStore:
    """The runs in the volume of a Modal environment, read as `FolderStore` reads those of a folder.

    Every method raises `UserError` when the volume cannot be read. Artifacts stay in the volume. `cache` is
    the folder where what was read is kept: by default below the user's own cache folder.
    """

    def __init__(self, environment: str, cache: Path | None = None) -> None:
        self._environment = environment
        self._where = f"the volume {RESULTS_VOLUME} of the Modal environment {environment}"
        self._cache = cache or _cache_folder()
        self._volume: ResultsVolume | None = None
        self._looked_at: set[str] = set()

    def runs(self) -> list[str]:
        """Ids of the stored runs, newest first."""
        return self._do(self._runs)

    def resolve(self, name: str = "latest") -> str:
        """As `FolderStore.resolve`."""
        return which_run(name, self._do(_run_ids), self._where)

    def load(self, run_id: str) -> StoredRun:
        """As `FolderStore.load`."""
        return self._do(partial(self._load, run_id, every_trial=True))

    def glance(self, run_id: str) -> StoredRun:
        """As `FolderStore.glance`."""
        return self._do(partial(self._load, run_id, every_trial=False))

    def place(self, run_id: str) -> str:
        """Where a run is, for people."""
        return f"{run_id} in {self._where}"

    def _do(self, work: Callable[[ResultsVolume], Coroutine[Any, Any, T]]) -> T:
        try:
            return asyncio.run(self._with_volume(work))
        except VolumeUnavailable as error:
            raise UserError(
                f"{self._where} cannot be read: {error}\n  Is Modal up? See https://status.modal.com"
            ) from None
        except OSError as error:
            raise UserError(f"{self._cache} cannot be used to keep what was read: {error}") from None

    async def _with_volume(self, work: Callable[[ResultsVolume], Coroutine[Any, Any, T]]) -> T:
        if self._volume is None:
            self._volume = await ResultsVolume.open(self._environment, create=False)
        return await work(self._volume)

    def _kept(self, volume: ResultsVolume) -> FolderStore:
        return FolderStore(self._cache / volume.id)

    async def _runs(self, volume: ResultsVolume) -> list[str]:
        there = await _run_ids(volume)
        copies = [_Copy(volume, self._kept(volume).run(run_id).path) for run_id in there]
        await _in_parallel(copy.read_heads() for copy in copies)
        self._looked_at |= set(there)
        return [copy.run_id for copy in copies if copy.has(RECORD)]

    async def _load(self, run_id: str, volume: ResultsVolume, *, every_trial: bool) -> StoredRun:
        kept = self._kept(volume)
        copy = _Copy(volume, kept.run(run_id).path)
        if every_trial or run_id not in self._looked_at:
            await copy.read_heads()
        if every_trial or not copy.has(SUMMARY):
            await copy.read_trials()
        return kept.load(run_id) if every_trial else kept.glance(run_id)


class _Copy:
    """What was read of one run, in a folder of the layout of `FolderStore`."""

    def __init__(self, volume: ResultsVolume, folder: Path) -> None:
        self._volume, self._folder, self.run_id = volume, folder, folder.name

    def has(self, name: str) -> bool:
        return (self._folder / name).exists()

    @property
    def _final(self) -> bool:
        """Whether nothing of the run will change: its record is sent last of all, with its end."""
        return self.has(SUMMARY) and has_ended(self._folder / RECORD)

    async def read_heads(self) -> None:
        """Read the run's record and summary, where they may have changed."""
        if not self._final:
            await _in_parallel(self._read(name) for name in (RECORD, SUMMARY))

    async def read_trials(self) -> None:
        """Read the records of trials that are not here as they are there."""
        if self.has(WHOLE):
            return
        there = {
            f"trials/{e.name}": e for e in await self._volume.entries(f"{self.run_id}/trials") if e.is_file
        }
        for path in self._folder.glob("trials/*.json"):
            if f"trials/{path.name}" not in there:
                path.unlink(missing_ok=True)
        new = [
            name for name, entry in there.items() if name.endswith(".json") and not self._holds(name, entry)
        ]
        await _in_parallel(self._read(name, there[name].changed) for name in new)
        if self._final:
            write_whole(self._folder / WHOLE, b"")

    def _holds(self, name: str, entry: Entry) -> bool:
        try:
            found = (self._folder / name).stat()
        except FileNotFoundError:
            return False
        return (found.st_size, int(found.st_mtime)) == (entry.size, entry.changed)

    async def _read(self, name: str, changed: int | None = None) -> None:
        path = self._folder / name
        try:
            content = await self._volume.read(f"{self.run_id}/{name}")
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content, durable=False)
        if changed is not None:
            os.utime(path, (changed, changed))


async def _run_ids(volume: ResultsVolume) -> list[str]:
    return sorted((entry.name for entry in await volume.entries() if not entry.is_file), reverse=True)


async def _in_parallel(reads: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all, `READERS` at once."""
    slots = asyncio.Semaphore(READERS)

    async def one(read: Coroutine[Any, Any, None]) -> None:
        async with slots:
            await read

    await asyncio.gather(*(one(read) for read in reads))


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "pytest-goat", "results")

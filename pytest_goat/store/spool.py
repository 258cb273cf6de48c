"""What of a run's folder is in the volume already, and what goes there next.

A folder says so in its marker, `.upload.json`:

    {"version": 1, "volume": id, "files": {name: [size, mtime_ns]}}

Records of trials and the files of the run itself stand in it. A trial whose record is up is wholly up, since
artifacts go first; so the marker of 10,000 trials stays small. What it says is true at any moment: a crash
can only make it say too little, and then a file is sent once more.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_goat.store.encode import json_text
from pytest_goat.store.folder import RECORD, TEMPORARY, write_whole

MARKER = ".upload.json"
LOCK = ".upload.lock"
MARKER_VERSION = 1

MAX_FILES = 1000
MAX_BYTES = 32 * 1024 * 1024
"""A batch that reaches one of these takes no further trial: it is held in memory while it is sent."""

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: another stamp, another content."""


@dataclass(slots=True)
class Batch:
    """Files that may go to the volume together, in any order."""

    files: dict[str, Path] = field(default_factory=dict)
    """Name in the run's folder -> where the file is."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    """Of those that the marker will hold."""
    prepared: dict[str, Stamp] = field(default_factory=dict)
    """Records whose artifacts these are, and which may follow when the batch is up."""
    size: int = 0

    def read(self) -> dict[str, bytes]:
        """Content of each file that is still there, by its name in the run's folder. Raises `OSError`."""
        found = {}
        for name, path in self.files.items():
            with suppress(FileNotFoundError):
                found[name] = path.read_bytes()
        return found

    @property
    def full(self) -> bool:
        return len(self.files) >= MAX_FILES or self.size >= MAX_BYTES

    def add(self, name: str, path: Path, stamp: Stamp) -> None:
        self.files[name] = path
        self.stamps[name] = stamp
        self.size += stamp[0]

    def prepare(self, name: str, stamp: Stamp, artifacts: dict[str, os.DirEntry[str]]) -> None:
        self.prepared[name] = stamp
        self.files |= {artifact: Path(entry.path) for artifact, entry in artifacts.items()}
        self.size += sum(entry.stat().st_size for entry in artifacts.values())


class Spool:
    """The folder of one run, on its way into the volume with the id `volume`."""

    def __init__(self, folder: Path, volume: str) -> None:
        self.folder, self.volume = folder, volume
        self._up = _read_marker(folder / MARKER, volume)
        self._prepared: dict[str, Stamp] = {}

    def next_batch(self) -> Batch:
        """What may go now; without files when all is up. Raises `OSError`.

        The order is what a reader of the volume relies on: artifacts before their trial's record, all records
        before what is made of them and before the run's record that says that the run has ended.
        """
        batch = Batch()
        own = {name: stamp for name, stamp in _stamps(self.folder) if self._up.get(name) != stamp}
        trials = self._waiting_trials()
        if RECORD in own and not has_ended(self.folder / RECORD):
            batch.add(RECORD, self.folder / RECORD, own.pop(RECORD))
        if trials:
            self._add_trials(batch, trials)
        else:
            for name, stamp in own.items():
                batch.add(name, self.folder / name, stamp)
        return batch

    def _waiting_trials(self) -> dict[str, Stamp]:
        names = ((f"trials/{name}", stamp) for name, stamp in _stamps(self.folder / "trials"))
        return {n: stamp for n, stamp in names if n.endswith(".json") and self._up.get(n) != stamp}

    def _add_trials(self, batch: Batch, trials: dict[str, Stamp]) -> None:
        """The records that may go, and the artifacts of others."""
        later = []
        for name, stamp in trials.items():
            if self._prepared.get(name) != stamp:
                later.append(name)
            elif not batch.full:
                batch.add(name, self.folder / name, stamp)
        for name in later:
            if batch.full:
                break
            of_trial = name.removesuffix(".json")
            artifacts = {f"{of_trial}/{e.name}": e for e in _files(self.folder / of_trial)}
            if artifacts:
                batch.prepare(name, trials[name], artifacts)
            else:
                batch.add(name, self.folder / name, trials[name])

    def sent(self, batch: Batch) -> None:
        """Note that all of `batch` is up. Raises `OSError`."""
        self._up |= batch.stamps
        self._prepared |= batch.prepared
        if batch.stamps:
            marker = {"version": MARKER_VERSION, "volume": self.volume, "files": self._up}
            write_whole(self.folder / MARKER, json_text(marker).encode())

    @property
    def waiting(self) -> int:
        """How many records and files of the run are not up. Raises `OSError`."""
        own = sum(self._up.get(name) != stamp for name, stamp in _stamps(self.folder))
        return own + len(self._waiting_trials())


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether nobody else sends this run's folder now; until the end of the block nobody else can.

    A lock that the process holds: it ends with it, however that ends. Raises `OSError`.
    """
    with (folder / LOCK).open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The whole files there, but our own two."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        unfinished = entry.name.startswith(".") and entry.name.endswith(TEMPORARY)
        if entry.name not in (MARKER, LOCK) and not unfinished and entry.is_file(follow_symlinks=False):
            yield entry


def _stamps(folder: Path) -> Iterator[tuple[str, Stamp]]:
    for entry in _files(folder):
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield entry.name, (found.st_size, found.st_mtime_ns)


def has_ended(record: Path) -> bool:
    """Whether a run's record, which may not be there, says that the run has ended."""
    try:
        return bool(json.loads(record.read_bytes()).get("finished"))
    except (FileNotFoundError, ValueError, AttributeError, RecursionError):
        return False


def _read_marker(path: Path, volume: str) -> dict[str, Stamp]:
    """What is up in that volume; nothing where the marker is of another one or cannot be read."""
    try:
        marker: Any = json.loads(path.read_bytes())
        if (marker["version"], marker["volume"]) != (MARKER_VERSION, volume):
            return {}
        return {name: (int(size), int(changed)) for name, (size, changed) in marker["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

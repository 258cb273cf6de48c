"""Where recordings are found: on the disk of the host, or on the shelf that it sent them to."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_goat.errors import TaskError, UserError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.recording import RecordingFile, Take, read_recording, take_of
from pytest_goat.gateway.shelf import Shelf

MODEL = "replay"

MAX_SIZE = 4 * 1024 * 1024
"""Bytes of one recording that is sent."""

_SUFFIXES = (".yaml", ".json")
_LISTED = 10
_KEPT = 64 * 1024 * 1024
"""Bytes of recordings that a container keeps at hand."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The answers of a model to one task, in one epoch."""

    source: str
    """Its file on the host, for messages."""
    take: Take

    def to_bytes(self) -> bytes:
        """As it is sent to a gateway, the same for the same recording."""
        from pytest_goat.gateway.recording_text import content_of  # with YAML, which few runs need here

        return json.dumps({"source": self.source, **content_of(self.take)}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Recording:
        """Raises `TaskError` when it is none."""
        try:
            content = json.loads(data)
            source = str(content.pop("source"))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise TaskError("the recording", 0, "", "cannot be read") from None
        return cls(source, take_of(content, source))


def recording_name(data: bytes) -> str:
    """Under what a gateway holds the recording that is sent as `data`: what it says names it."""
    return hashlib.sha256(data).hexdigest()[:32]


def recording_key(run_id: str, name: str) -> str:
    """Where it lies on the shelf."""
    return f"recording/{run_id}/{name}"


class Recordings(Protocol):
    """A source of recordings."""

    async def find(self, key: TrialKey) -> Recording:
        """Raises `UserError` when the trial has none, `TaskError` when it is wrong."""


class DiskRecordings:
    """Those beside the tasks: `replay/<task>.yaml` or `.json` in the suite, or else in the current folder."""

    def __init__(self) -> None:
        self._read: dict[Path, RecordingFile | TaskError] = {}

    async def find(self, key: TrialKey) -> Recording:
        return self.read(key)

    def read(self, key: TrialKey) -> Recording:
        """As `Recordings.find`."""
        path = _find(key)
        if path not in self._read:
            try:
                self._read[path] = read_recording(path)
            except TaskError as error:
                self._read[path] = error
        file = self._read[path]
        if isinstance(file, TaskError):
            raise file
        take = file.take(key.epoch)
        if take is None:
            epochs = ", ".join(map(str, sorted(file.takes)))
            raise UserError(
                f"task '{key.task_id}' has no take for epoch {key.epoch}: {path} has takes for {epochs}"
            )
        return Recording(str(path), take)

    def check(self, model: str, keys: Sequence[TrialKey]) -> None:
        """Raises `UserError` that lists the tasks that have no recording, or a wrong one."""
        problems = {key.task_id: problem for key in keys if (problem := self._problem(key))}
        if not problems:
            return
        lines = list(problems.values())
        more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        listed = "\n".join(f"  {line}" for line in [*lines[:_LISTED], *more])
        raise UserError(
            f"Model '{model}' cannot serve {len(lines)} of the tasks:\n{listed}\n"
            "Write these recordings, leave the tasks out (-k), or choose a model with --goat-model."
        )

    def _problem(self, key: TrialKey) -> str:
        try:
            self.read(key)
        except UserError as error:
            return str(error)
        return ""


class ShelfRecordings:
    """Those that hosts have sent: a trial's own run, and what its token names, decide which it gets."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: OrderedDict[str, tuple[Recording, int]] = OrderedDict()
        self._size = 0

    async def find(self, key: TrialKey) -> Recording:
        place = recording_key(key.run_id, key.recording)
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place][0]
        data = await self._shelf.get(place) if key.recording else None
        if data is None:
            raise UserError(f"task '{key.task_id}' has no recording: the run has sent none")
        return self._keep(place, data)

    def _keep(self, place: str, data: bytes) -> Recording:
        recording = Recording.from_bytes(data)
        if place not in self._kept:
            self._kept[place] = (recording, len(data))
            self._size += len(data)
        while self._size > _KEPT:
            _, (_, size) = self._kept.popitem(last=False)
            self._size -= size
        return recording


def _find(key: TrialKey) -> Path:
    folder = key.model.partition(":")[2] or MODEL
    roots = [root for root in (key.suite_root, Path.cwd()) if root is not None]
    if Path(key.task_id).name != key.task_id:
        raise UserError(f"task '{key.task_id}' can have no recording: its id is no file name")
    paths = [root / folder / f"{key.task_id}{suffix}" for root in roots for suffix in _SUFFIXES]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise UserError(f"task '{key.task_id}' has no recording: there is no {paths[0]}")
    return found

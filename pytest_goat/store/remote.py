"""The volume `goat-results` through the Modal SDK: every call has its deadline, every error its words.

Methods are coroutines for any event loop; the SDK, which has a thread of its own, is loaded by the first one.
Paths in the volume are relative to its root: `<run_id>/run.json`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from pytest_goat.cloud.client import within
from pytest_goat.cloud.errors import Verdict, no_sdk, user_error, verdict
from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import GoatError, UserError

OPEN_TIMEOUT = 10.0
PUT_TIMEOUT = 60.0
LIST_TIMEOUT = 60.0
READ_TIMEOUT = 60.0
"""Seconds; writing has more where there is much to send, for a line of this many bytes a second:"""
SLOWEST = 256 * 1024

T = TypeVar("T")


class VolumeUnavailable(GoatError):
    """Modal did not take or give something this time; it may the next time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in the volume: its name there, size in bytes, time of change in whole seconds."""

    name: str
    is_file: bool
    size: int
    changed: int


class ResultsVolume:
    """The volume of one Modal environment. Made by `open`; methods raise `UserError`, `VolumeUnavailable`."""

    def __init__(self, volume: Any) -> None:
        self._volume = volume
        self.id: str = volume.object_id
        """Another volume of that name has another id."""

    @classmethod
    async def open(cls, environment: str, *, create: bool) -> ResultsVolume:
        """The volume of `environment`; one that is not there is made, of version 2, or a `UserError`."""
        if (found := await cls.find(environment)) is not None:
            return found
        if not create:
            raise UserError(
                f"there is no volume {RESULTS_VOLUME} in the Modal environment {environment} yet: "
                "`pytest benchmarks --goat-backend modal` makes it, `goat push RUN` too"
            )
        try:
            return await cls._look_up(environment, create_if_missing=True, version=2)
        except FileNotFoundError as error:
            raise UserError(
                f"there is no Modal environment {environment} ({error})\n"
                f"  `python infra/setup.py --env {environment}` makes it; --goat-modal-env names another one."
            ) from None

    @classmethod
    async def find(cls, environment: str) -> ResultsVolume | None:
        """The volume of `environment`; None where there is none."""
        try:
            return await cls._look_up(environment)
        except FileNotFoundError:
            return None

    @classmethod
    async def _look_up(cls, environment: str, **how: Any) -> ResultsVolume:
        try:
            import modal
        except ModuleNotFoundError:
            raise no_sdk() from None
        volume = modal.Volume.from_name(RESULTS_VOLUME, environment_name=environment, **how)
        await _ask(volume.hydrate.aio(), OPEN_TIMEOUT, "opening it")
        return cls(volume)

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files, over those that are there, in two calls and one for each new block."""
        seconds = PUT_TIMEOUT + sum(map(len, files.values())) / SLOWEST
        try:
            await _ask(self._put(files), seconds, f"writing {len(files)} files")
        except FileNotFoundError as error:
            raise VolumeUnavailable(f"the volume is gone: {error}") from None

    async def _put(self, files: Mapping[str, bytes]) -> None:
        async with self._volume.batch_upload.aio(force=True) as batch:
            for path, content in files.items():
                batch.put_file(BytesIO(content), f"/{path}")

    async def entries(self, folder: str = "") -> list[Entry]:
        """What is in a folder; nothing where there is none."""
        try:
            found = await _ask(self._volume.listdir.aio(f"/{folder}"), LIST_TIMEOUT, "listing files")
        except FileNotFoundError:
            return []
        return [
            Entry(entry.path.rpartition("/")[2], entry.type.name == "FILE", entry.size, entry.mtime)
            for entry in found
        ]

    async def read(self, path: str) -> bytes:
        """A file's content. Raises `FileNotFoundError`."""
        return await _ask(self._read(path), READ_TIMEOUT, f"reading {path}")

    async def remove(self, path: str) -> None:
        """Delete a file. Raises `FileNotFoundError`."""
        await _ask(self._volume.remove_file.aio(f"/{path}"), READ_TIMEOUT, f"removing {path}")

    async def _read(self, path: str) -> bytes:
        return b"".join([part async for part in self._volume.read_file.aio(path)])


async def _ask(call: Awaitable[T], seconds: float, doing: str) -> T:
    """Await `call` for so long. Raises `UserError`, `VolumeUnavailable`, and `FileNotFoundError`."""
    try:
        return await within(call, seconds, doing)
    except FileNotFoundError:
        raise
    except Exception as error:
        found = verdict(error)
        if found is Verdict.MISSING:
            raise FileNotFoundError(str(error)) from None
        if found is Verdict.NEVER:
            raise user_error(error, f"{RESULTS_VOLUME}, {doing}") from None
        raise VolumeUnavailable(str(error) or type(error).__name__) from None

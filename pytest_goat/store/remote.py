"""The volume `goat-results` through the Modal SDK: every call has its deadline, every error its words.

Methods are coroutines for any event loop; the SDK, which has a thread of its own, is loaded by the first one.
Paths in the volume are relative to its root: `<run_id>/run.json`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import GoatError, UserError

OPEN_TIMEOUT = 20.0
PUT_TIMEOUT = 120.0
LIST_TIMEOUT = 60.0
READ_TIMEOUT = 60.0
"""Seconds."""

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
        modal = _modal()
        volume = modal.Volume.from_name(RESULTS_VOLUME, environment_name=environment)
        try:
            await _within(OPEN_TIMEOUT, volume.hydrate.aio())
        except FileNotFoundError:
            if not create:
                raise UserError(
                    f"there is no volume {RESULTS_VOLUME} in the Modal environment {environment} yet: "
                    "`pytest benchmarks --goat-backend modal` makes it, `goat push RUN` too"
                ) from None
            volume = modal.Volume.from_name(
                RESULTS_VOLUME, environment_name=environment, create_if_missing=True, version=2
            )
            try:
                await _within(OPEN_TIMEOUT, volume.hydrate.aio())
            except FileNotFoundError:
                raise UserError(
                    f"there is no Modal environment {environment}: `python infra/setup.py` makes it"
                ) from None
        return cls(volume)

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files, over those that are there, in two calls and one for each new block."""
        try:
            await _within(PUT_TIMEOUT, self._put(files))
        except FileNotFoundError as error:
            raise VolumeUnavailable(f"the volume is gone: {error}") from None

    async def _put(self, files: Mapping[str, bytes]) -> None:
        async with self._volume.batch_upload.aio(force=True) as batch:
            for path, content in files.items():
                batch.put_file(BytesIO(content), f"/{path}")

    async def entries(self, folder: str = "") -> list[Entry]:
        """What is in a folder; nothing where there is none."""
        try:
            found = await _within(LIST_TIMEOUT, self._volume.listdir.aio(f"/{folder}"))
        except FileNotFoundError:
            return []
        kinds = _modal().types.FileEntryType
        return [
            Entry(
                entry.path.rstrip("/").rpartition("/")[2], entry.type == kinds.FILE, entry.size, entry.mtime
            )
            for entry in found
        ]

    async def read(self, path: str) -> bytes:
        """A file's content. Raises `FileNotFoundError`."""
        return await _within(READ_TIMEOUT, self._read(path))

    async def _read(self, path: str) -> bytes:
        return b"".join([part async for part in self._volume.read_file.aio(path)])


def _modal() -> Any:
    try:
        import modal
        import modal.types
    except ImportError:
        raise UserError(
            f"the volume {RESULTS_VOLUME} needs the Modal SDK: pip install 'pytest-goat[modal]'"
        ) from None
    return modal


async def _within(seconds: float, call: Awaitable[T]) -> T:
    """Await `call` for so long. Raises `UserError`, `VolumeUnavailable`, and `FileNotFoundError`."""
    from modal import exception as wrong

    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise VolumeUnavailable(f"Modal did not answer within {seconds:g} s") from None
    except (wrong.NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(str(error)) from None
    except (wrong.AuthError, wrong.PermissionDeniedError) as error:
        raise UserError(f"Modal refuses the token: {error}. `modal token new` makes another") from None
    except wrong.ConflictError as error:
        raise VolumeUnavailable(str(error)) from None
    except (wrong.InvalidError, wrong.VersionError) as error:
        raise UserError(f"Modal refuses the volume {RESULTS_VOLUME}: {error}") from None
    except Exception as error:
        raise VolumeUnavailable(f"{type(error).__name__}: {error}") from None

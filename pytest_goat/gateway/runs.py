"""The runs that a deployed gateway knows: their records, read from the shelf and kept at hand for a while."""

from __future__ import annotations

import asyncio
import time

from pytest_goat.gateway.request import Refused
from pytest_goat.gateway.shelf import Shelf
from pytest_goat.gateway.token import RunRecord

_KNOWN = 60.0
_UNKNOWN = 2.0
"""Seconds that a run, or that there is none of this id, is remembered."""
_REMEMBERED = 1000


class Runs:
    """Reads run records from a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._found: dict[str, tuple[float, RunRecord | None]] = {}
        self._looking: dict[str, asyncio.Task[RunRecord | None]] = {}

    async def find(self, run_id: str) -> RunRecord:
        """Raises `Refused` (401) when there is no such run, or none any more, and `GatewayError`."""
        until, record = self._found.get(run_id, (0.0, None))
        if until <= time.monotonic():
            record = await self._look(run_id)
        if record is None or record.expires <= time.time():
            message = "this key (OPENAI_API_KEY) is of no run that this gateway knows"
            raise Refused(401, "invalid_api_key", message)
        return record

    async def _look(self, run_id: str) -> RunRecord | None:
        """All that ask for one run at once wait for one look."""
        task = self._looking.get(run_id)
        if task is None:
            task = self._looking[run_id] = asyncio.create_task(self._read(run_id))
            task.add_done_callback(lambda _: self._looking.pop(run_id, None))
        return await asyncio.shield(task)

    async def _read(self, run_id: str) -> RunRecord | None:
        data = await self._shelf.get(RunRecord.key(run_id))
        record = None if data is None else RunRecord.from_bytes(data)
        while len(self._found) >= _REMEMBERED:
            del self._found[next(iter(self._found))]
        self._found.pop(run_id, None)
        self._found[run_id] = (time.monotonic() + (_UNKNOWN if record is None else _KNOWN), record)
        return record

"""Brings what is missing of one run into the volume: for the uploader of a run, and for `goat push`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pytest_goat.store.remote import ResultsVolume, VolumeUnavailable
from pytest_goat.store.spool import Spool

PAUSES = (1.0, 2.0, 4.0)
"""Seconds before each further try, where someone waits for the end."""


class Sender:
    """Sends the files of `folder`, whose name is the run's id. One process at a time (`spool.claimed`)."""

    def __init__(self, folder: Path, environment: str, volume: ResultsVolume | None = None) -> None:
        self._folder, self._environment = folder, environment
        self._volume = volume
        """None: to be opened, for the first time or after something went wrong with it."""
        self._spool: Spool | None = None
        self.files = 0
        """How many were sent."""

    async def send_batch(self) -> bool:
        """Send what may go now; whether there was anything.

        Raises `UserError` when a person must mend something, `VolumeUnavailable` when a later try may do, and
        `OSError` when the folder cannot be read or written.
        """
        if self._volume is None:
            self._volume = await ResultsVolume.open(self._environment, create=True)
        if self._spool is None or self._spool.volume != self._volume.id:
            self._spool = Spool(self._folder, self._volume.id)
        batch = self._spool.next_batch()
        files = {f"{self._folder.name}/{name}": content for name, content in batch.read().items()}
        if not files:
            return False
        try:
            await self._volume.put(files)
        except VolumeUnavailable:
            self._volume = None
            raise
        self._spool.sent(batch)
        self.files += len(files)
        return True

    async def send_all(self) -> None:
        """Send until all is up; errors as in `send_batch`, when some tries in a row came to nothing."""
        failed = 0
        while True:
            try:
                if not await self.send_batch():
                    return
                failed = 0
            except VolumeUnavailable:
                if failed == len(PAUSES):
                    raise
                await asyncio.sleep(PAUSES[failed])
                failed += 1

    def waiting(self) -> int:
        """How many records and files are not up, as far as this process knows. Raises `OSError`."""
        return (self._spool or Spool(self._folder, "")).waiting

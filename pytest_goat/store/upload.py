"""Sends a run's folder into the volume while the run goes on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import UserError
from pytest_goat.store.remote import VolumeUnavailable
from pytest_goat.store.send import Sender
from pytest_goat.store.spool import claimed

EVERY = 30.0
"""Seconds between two batches, unless so many trials are waiting:"""
AFTER = 200

LONGEST_PAUSE = 300.0
END_TIMEOUT = 60.0
"""Seconds: the longest between two tries while Modal does not answer; for what is left at a run's end."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of the uploading of a run."""

    run_id: str
    files: int
    """Sent by this process."""
    waiting: int
    """Records and files of the run that are not in the volume."""
    problem: str = ""
    """Why not, when some are waiting."""

    @property
    def warning(self) -> str:
        """What to tell the user; "" when all is well."""
        if not self.waiting:
            return ""
        return (
            f"results are not all in the volume {RESULTS_VOLUME} yet ({self.problem}): "
            f"nothing is lost, `goat push {self.run_id}` sends them"
        )


class Uploader:
    """Sends what is whole in `folder` in batches, in a thread of its own; only `finish` waits for it.

    A batch goes every `every` seconds, and when `after` trials were added. Files may come from any process of
    this machine: the folder is looked at before each batch. What goes wrong is told by `finish` alone.
    """

    def __init__(self, folder: Path, environment: str, *, every: float = EVERY, after: int = AFTER) -> None:
        self._folder, self._every, self._after = folder, every, after
        self._sender = Sender(folder, environment)
        self._thread = threading.Thread(target=self._run, name="goat-upload", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._wake, self._end = asyncio.Event(), asyncio.Event()
        self._timeout = 0.0
        self._added = 0
        self._problem = ""

    def start(self) -> None:
        """Begin; the run's folder is there."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def added(self) -> None:
        """A trial was stored: when many are waiting, they are sent before their time."""
        self._added += 1
        if self._added % self._after == 0:
            self._loop.call_soon_threadsafe(self._wake.set)

    def finish(self, timeout: float = END_TIMEOUT) -> Uploaded:
        """Send the rest, within `timeout` seconds. Call it once, when the run's last file is written."""
        self._timeout = timeout
        self._loop.call_soon_threadsafe(self._end.set)
        # Beyond the time that the thread gives itself, only loading the SDK can take long.
        self._thread.join(timeout + 5.0)
        try:
            waiting = self._sender.waiting()
        except OSError as error:
            waiting, self._problem = 1, str(error)
        return Uploaded(self._folder.name, self._sender.files, waiting, self._problem)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        sending = asyncio.create_task(self._send())
        await self._end.wait()
        self._wake.set()
        await asyncio.wait({sending}, timeout=self._timeout)
        sending.cancel()
        try:
            await sending
        except asyncio.CancelledError:
            self._problem = self._problem or f"it takes longer than {self._timeout:g} s"
        except Exception as error:  # whatever it is: the results are in the folder, and the run ends well
            self._problem = str(error) or type(error).__name__

    async def _send(self) -> None:
        with claimed(self._folder) as ours:
            if not ours:
                raise UserError("another process sends them now")
            await self._send_meanwhile()
            await self._send_rest()

    async def _send_meanwhile(self) -> None:
        """A batch from time to time, until the run ends; ever more seldom while Modal does not answer."""
        pause = self._every
        while not self._end.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()
            if self._end.is_set():
                return
            try:
                await self._sender.send_batch()
                self._problem, pause = "", self._every
            except VolumeUnavailable as error:
                self._problem, pause = str(error), min(2 * pause, LONGEST_PAUSE)

    async def _send_rest(self) -> None:
        await self._sender.send_all()
        self._problem = ""

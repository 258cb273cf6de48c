"""The standard streams of a command, on the event loop: no thread, and bounded memory."""

from __future__ import annotations

import asyncio
import os

_CHUNK = 64 * 1024
_DROP_PAUSE = 0.001
"""Seconds between reads of what is dropped: a flood of one command must not keep the event loop busy."""


class Output:
    """The reading end of a pipe. Keeps `bound` bytes; takes in and drops what comes after, at leisure."""

    def __init__(self, bound: int) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._bound = bound
        self._kept = bytearray()
        self._dropped = False
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._reader, self._read)

    def _read(self) -> None:
        try:
            chunk = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return
        room = self._bound - len(self._kept)
        self._kept += chunk[:room]
        if not chunk:
            self._loop.remove_reader(self._reader)
            if not self._ended.done():
                self._ended.set_result(None)
        elif len(chunk) > room:
            self._dropped = True
            self._loop.remove_reader(self._reader)
            self._pause = self._loop.call_later(_DROP_PAUSE, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._reader, self._read)

    async def all(self) -> tuple[bytes, bool]:
        """Wait for the end: what was kept, and whether more was dropped."""
        await self._ended
        return bytes(self._kept), self._dropped

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._reader)
        os.close(self._reader)


class Input:
    """The writing end of a pipe that is fed `data`."""

    def __init__(self, data: bytes) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._left = memoryview(data)
        self._loop = asyncio.get_running_loop()
        self._waiting = False
        self._write()

    def _write(self) -> None:
        try:
            while self._left:
                self._left = self._left[os.write(self._writer, self._left[:_CHUNK]) :]
        except BlockingIOError:
            if not self._waiting:
                self._loop.add_writer(self._writer, self._write)
                self._waiting = True
            return
        except BrokenPipeError:
            pass  # the command wants no more
        self.close()

    def close(self) -> None:
        if self._writer < 0:
            return
        if self._waiting:
            self._loop.remove_writer(self._writer)
        os.close(self._writer)
        self._writer = -1

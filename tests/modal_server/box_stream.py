"""Standard streams of a command, on the server's side: what it wrote, kept by offset, and what it reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable

from grpclib import GRPCError, Status

MB = 1 << 20
PIPE_SIZE = MB
"""Bytes of a pipe: the kernel's usual bound for them; its default, 64 KB, means many more turns."""


class Output:
    """Bytes that a command wrote; many may read them, each from its own offset, also when it has ended.

    At most `bound` bytes are kept. `lossy` drops the oldest for new ones at once; otherwise the writer has to
    wait (`full`) until somebody has read, as with a pipe.
    """

    def __init__(self, bound: int = 64 * MB, *, lossy: bool = False) -> None:
        self._bound, self._lossy = bound, lossy
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._first = self._size = self._seen = 0
        self._ended = False
        self._change = asyncio.Event()
        self.on_room: Callable[[], None] = lambda: None
        """Called when somebody has read."""

    @property
    def full(self) -> bool:
        """Whether so much is unread that no more should be added now."""
        return not self._lossy and self._size - self._seen >= self._bound

    def feed(self, chunk: bytes) -> None:
        self._starts.append(self._size)
        self._chunks.append(chunk)
        self._size += len(chunk)
        keep_from = self._size - self._bound if self._lossy else min(self._seen, self._size - self._bound)
        dropped = max(bisect_right(self._starts, keep_from) - 1, 0)
        if dropped:
            del self._starts[:dropped], self._chunks[:dropped]
            self._first = self._starts[0]
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def read(self, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (offset, bytes) from `offset` on to the end, or from the oldest byte kept of a lossy one.

        Raises DATA_LOSS when what is asked for is kept no more.
        """
        while True:
            if offset < self._first:
                if not self._lossy:
                    raise GRPCError(Status.DATA_LOSS, f"output before offset {self._first} is kept no more")
                offset = self._first
            if offset < self._size:
                number = bisect_right(self._starts, offset) - 1
                chunk = self._chunks[number][offset - self._starts[number] :]
                yield offset, chunk
                offset += len(chunk)
                self._seen = max(self._seen, offset)
                self.on_room()
            elif self._ended:
                return
            else:
                await self._change.wait()


class PipeReader:
    """Carries what comes out of a pipe into an `Output`. `writer` is the end for the command."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._loop.add_reader(self._reader, self._read)
        output.on_room = self._resume

    def _read(self) -> None:
        try:
            chunk = os.read(self._reader, PIPE_SIZE)
        except BlockingIOError:
            return
        if not chunk:
            self.close()
            return
        self._output.feed(chunk)
        if self._output.full:
            self._loop.remove_reader(self._reader)
            self._paused = True

    def _resume(self) -> None:
        if self._paused and self._reader >= 0 and not self._output.full:
            self._paused = False
            self._loop.add_reader(self._reader, self._read)

    def finish(self) -> None:
        """The command has ended: take what is in the pipe, which one read does.

        What others add, who still hold its other end, is lost.
        """
        if self._reader >= 0:
            self._read()
            self.close()

    def close(self) -> None:
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
        self._output.end()


class Input:
    """What a command reads. Takes bytes by offset, so that a repeated write adds nothing.

    What comes when the command has ended is dropped: the writer cannot know of that in time.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._ended = self._gone = False

    def write(self, offset: int, data: bytes, *, eof: bool) -> None:
        """Raises OUT_OF_RANGE for a gap, FAILED_PRECONDITION for new bytes after the end."""
        if offset > self._taken:
            raise GRPCError(Status.OUT_OF_RANGE, f"stdin: expected offset {self._taken}, got {offset}")
        new = data[self._taken - offset :]
        if new and self._ended:
            raise GRPCError(Status.FAILED_PRECONDITION, "stdin is closed")
        self._taken += len(new)
        self._ended = self._ended or eof
        if not self._gone:
            self._accept(new, self._ended)

    def _accept(self, data: bytes, eof: bool) -> None:
        """What to do with new bytes; dropped here."""

    def close(self) -> None:
        """The command is gone."""
        self._gone = True


class PipeWriter(Input):
    """Carries what is written into a pipe. `reader` is the end for the command."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writer, False)
        fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._left: list[memoryview] = []
        self._eof = self._waiting = False
        self._loop = asyncio.get_running_loop()

    def _accept(self, data: bytes, eof: bool) -> None:
        if self._writer < 0:
            return
        if data:
            self._left.append(memoryview(data))
        self._eof = eof
        if not self._waiting:
            self._write()

    def _write(self) -> None:
        try:
            while self._left:
                rest = self._left[0][os.write(self._writer, self._left[0]) :]
                self._left[:1] = [rest] if rest else []
        except BlockingIOError:
            if not self._waiting:
                self._loop.add_writer(self._writer, self._write)
                self._waiting = True
            return
        except BrokenPipeError:
            self._close_pipe()  # the command reads no more; a pipe would say nothing of the rest either
            return
        if self._waiting:
            self._loop.remove_writer(self._writer)
            self._waiting = False
        if self._eof:
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._writer >= 0:
            if self._waiting:
                self._loop.remove_writer(self._writer)
                self._waiting = False
            os.close(self._writer)
            self._writer = -1
        self._left.clear()

    def close(self) -> None:
        super().close()
        self._close_pipe()

"""The server's end of a socket to the zygote or to an init."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from pytest_goat.sandbox.local import wire

_PATIENCE = 20.0
"""Seconds that an answer may take; it takes milliseconds."""

Heard = tuple[wire.Message, list[int]]


class BoxError(Exception):
    """A box cannot be made; says why."""


class Line:
    """Messages on the event loop. `there` is the other end, to be given away and closed here."""

    def __init__(self) -> None:
        # Sending may wait, for moments: the other side does nothing else than to receive.
        self._sock, self.there = wire.pair()
        self.on_message: Callable[[Heard], None] = lambda _: None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._read)

    def _read(self) -> None:
        try:
            heard = wire.receive(self._sock)
        except (OSError, EOFError):
            self.close()
            heard = {"error": "its process ended"}, []
        self.on_message(heard)

    def send(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        """The descriptors stay open here. What the other side is not there to hear is dropped."""
        with contextlib.suppress(OSError):
            wire.send(self._sock, message, fds)

    async def answer(self) -> Heard:
        """The next message, with descriptors that the caller owns. Raises `BoxError` in its words."""
        next_one: asyncio.Future[Heard] = self._loop.create_future()
        self.on_message = lambda heard: None if next_one.done() else next_one.set_result(heard)
        try:
            message, fds = await asyncio.wait_for(next_one, _PATIENCE)
        except TimeoutError:
            raise BoxError("it does not answer") from None
        if "error" in message:
            raise BoxError(message["error"])
        return message, fds

    def close(self) -> None:
        """May be called twice."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

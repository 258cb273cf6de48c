"""The harness's side of a launcher socket: requests and answers on the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from pytest_goat.errors import Cause, SandboxError
from pytest_goat.sandbox.local import wire


class Channel:
    """One request at a time over one socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._waiting: asyncio.Future[None] | None = None

    async def request(self, message: wire.Message, fds: Sequence[int] = ()) -> tuple[wire.Message, list[int]]:
        """Send `message` and wait for the answer, whose descriptors the caller owns.

        Raises `SandboxError` when the other side is gone or says that it failed.
        """
        self.send(message, fds)
        return await self.receive()

    async def receive(self) -> tuple[wire.Message, list[int]]:
        """Wait for the next message; raises as `request` does."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._sock.fileno(), _resolve, self._waiting)
        try:
            await self._waiting
        finally:
            if self._sock.fileno() >= 0:
                loop.remove_reader(self._sock.fileno())
        return self._take_in()

    def _take_in(self) -> tuple[wire.Message, list[int]]:
        try:
            answer, given = wire.receive(self._sock)
        except (OSError, EOFError) as error:
            raise _lost() from error
        if "error" in answer:
            raise SandboxError(Cause.SANDBOX_LOST, f"local sandbox: {answer['error']}")
        return answer, given

    def send(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        """Send what has no answer, or what is answered by `receive`."""
        try:
            wire.send(self._sock, message, fds)
        except OSError:
            self._take_in()  # the last words of the other side, which say why it is gone
            raise _lost() from None

    def close(self) -> None:
        """Hang up; who waits for an answer is told that it will not come. May be called twice."""
        if self._waiting is not None and not self._waiting.done():
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._waiting.set_exception(_lost())
        self._sock.close()


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _lost() -> SandboxError:
    return SandboxError(Cause.SANDBOX_LOST, "local sandbox: its process is gone")

"""Providers that answer byte for byte as a test wants it, where `ModelServer` is too well-behaved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.upstream import Answer

KEY = "sk-canary-0123456789"
"""What no agent and no record may see."""

CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": null}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def as_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve) -> AsyncIterator[str]:
    """A server that reads the request and leaves the rest, down to the bytes, to `serve`; gives its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [
                line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length" in line
            ]
            await reader.readexactly(int(length[0]) if length else 0)
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


class Parts:
    """An upstream that answers with these parts, each as one piece; an exception among them is raised."""

    name = "parts"
    secrets = (KEY,)

    def __init__(self, *parts: bytes | Exception, status: int = 200) -> None:
        self._parts, self._status = parts, status

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def quota(self, model: str) -> str:
        return ""

    def handover(self) -> dict[str, str]:
        return {}

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None: ...

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answer]:
        yield Answer(self._status, {"content-type": "text/event-stream"}, self._body())

    async def _body(self) -> AsyncGenerator[bytes, None]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part

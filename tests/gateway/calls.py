"""An agent's side of the gateway: an endpoint on a real socket, and a client that calls it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Endpoint, Gateway, ModelCall, TrialKey

MODEL = "test-model"
KEY = "sk-canary-0123456789"


@dataclass
class Reply:
    """What the agent got."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    """The connection broke before the body's end."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The events of a stream, without `[DONE]`."""
        lines = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]


def request(*, stream: bool = True, usage: bool = True, turn: int = 1, **more: Any) -> dict[str, Any]:
    """A chat completion as agents send it, with the answers before `turn` in its history."""
    messages = [{"role": "user", "content": "Do it."}]
    messages += [{"role": "assistant", "content": f"answer {n}"} for n in range(1, turn)]
    options = {"stream_options": {"include_usage": True}} if stream and usage else {}
    return {"model": MODEL, "messages": messages, "stream": stream, **options, **more}


@dataclass
class Agent:
    """A client of one endpoint."""

    endpoint: Endpoint
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, body: Any = None, *, method: str = "POST", path: str = "/chat/completions") -> Reply:
        """Send `body` (JSON, or bytes as they are) and read all of the answer."""
        async with self.open(body, method=method, path=path) as response:
            data = bytearray()
            try:
                async for part in response.content.iter_any():
                    data += part
            except aiohttp.ClientError:
                return Reply(response.status, response.headers, bytes(data), cut=True)
            return Reply(response.status, response.headers, bytes(data))

    @asynccontextmanager
    async def open(
        self, body: Any = None, *, method: str = "POST", path: str = "/chat/completions"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        data = None if body is None else io.BytesIO(content)
        headers = {"Authorization": f"Bearer {self.endpoint.api_key}", **self.headers}
        async with self.session.request(
            method, self.endpoint.base_url + path, data=data, headers=headers
        ) as response:
            yield response

    async def last(self) -> ModelCall:
        """The last call that the gateway saw."""
        last = (await self.endpoint.seen()).last
        assert last is not None
        return last


def listen() -> socket.socket:
    """A socket as a sandbox makes it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def trial_key(model: str = MODEL, task_id: str = "task", suite_root: Path | None = None) -> TrialKey:
    return TrialKey("run", f"{task_id}-1", task_id, model, suite_root)


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@asynccontextmanager
async def agent_on(gateway: Gateway, key: TrialKey, *, private: bool = True) -> AsyncIterator[Agent]:
    """An agent whose trial has an endpoint of a gateway that runs."""
    endpoint = gateway.open(key)
    endpoint.attach(listen(), private)
    try:
        async with aiohttp.ClientSession() as session:
            yield Agent(endpoint, session)
    finally:
        await endpoint.close()


@asynccontextmanager
async def agent_of(
    api_url: str, *, model: str = MODEL, private: bool = True, model_timeout: float = 30.0
) -> AsyncIterator[Agent]:
    """An agent of a trial whose model is at `api_url`."""
    gateway = make_gateway([model], api_url, KEY, model_timeout)
    async with running(gateway), agent_on(gateway, trial_key(model), private=private) as agent:
        yield agent


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

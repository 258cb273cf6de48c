"""An agent's side of the gateway: an endpoint on a real socket, and a client that calls it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Endpoint, Gateway, ModelCall, TrialKey
from pytest_goat.gateway.proxy import ProxyGateway
from tests.gateway.providers import KEY, Parts
from tests.support.model_server import ModelServer
from tests.support.model_server import Reply as Scripted

MODEL = "test-model"


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

    @property
    def port(self) -> int:
        return int(self.endpoint.base_url.split(":")[2].split("/")[0])

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


async def one_call(reply: Scripted, body: Any = None, model_timeout: float = 30.0) -> tuple[Reply, ModelCall]:
    """What the agent gets for `body` from a server that answers with `reply`, and what is recorded."""
    with ModelServer([reply]) as server:
        async with agent_of(server.url, model_timeout=model_timeout) as agent:
            got = await agent.call(request() if body is None else body)
            return got, await agent.last()


def parts_call(upstream: Parts) -> tuple[Reply, ModelCall]:
    """The same for an upstream that answers in given parts."""

    async def scenario() -> tuple[Reply, ModelCall]:
        gateway = ProxyGateway({MODEL: upstream}, 30.0)
        async with running(gateway), agent_on(gateway, trial_key()) as agent:
            return await agent.call(request()), await agent.last()

    return asyncio.run(scenario())

"""Deployed gateways in this process: containers on real sockets that share a shelf."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from pytest_goat.errors import Cause, GatewayError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.recordings import ShelfRecordings
from pytest_goat.gateway.remote import RemoteEndpoint, RemoteGateway
from pytest_goat.gateway.replay import ReplayUpstream
from pytest_goat.gateway.served import ServedGateway
from pytest_goat.gateway.shelf import MemoryShelf, Shelf
from pytest_goat.gateway.token import Claims, RunRecord, sign
from pytest_goat.gateway.upstream import Upstream
from tests.gateway.calls import MODEL, Agent

RUN = "20260101-000000-abcd"
SECRET = b"0123456789abcdef0123456789abcdef"


@dataclass
class Container:
    """One gateway that serves, and where."""

    gateway: ServedGateway
    url: str


@dataclass
class Deployment:
    """Containers behind which a shelf lies."""

    shelf: Shelf
    containers: list[Container] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.containers[0].url

    async def register(self, run: str = RUN, secret: bytes = SECRET, *, expires: float = 3600.0) -> None:
        record = RunRecord(secret, (MODEL, "replay"), time.time() + expires)
        await self.shelf.put(RunRecord.key(run), record.to_bytes())


@asynccontextmanager
async def deployed(
    make: Callable[[], Upstream] | None = None, *, containers: int = 1, shelf: Shelf | None = None
) -> AsyncIterator[Deployment]:
    """Containers that serve recordings, and `MODEL` by an upstream that `make` makes for each."""
    deployment = Deployment(shelf or MemoryShelf())
    async with AsyncExitStack() as stack:
        for _ in range(containers):
            replay = ReplayUpstream(ShelfRecordings(deployment.shelf))
            upstreams: dict[str, Upstream] = {"replay": replay} | ({MODEL: make()} if make else {})
            gateway = ServedGateway(deployment.shelf, upstreams)
            listener = socket.create_server(("127.0.0.1", 0), backlog=512)
            await gateway.start(listener)
            stack.push_async_callback(gateway.stop)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            deployment.containers.append(Container(gateway, url))
        await deployment.register()
        yield deployment


def claims(**changes: object) -> Claims:
    """What a trial's token says, with whatever is changed."""
    said = {"run": RUN, "expires": time.time() + 3600, "trial": "trial-1", "nonce": "00", "model": MODEL}
    return Claims(**{**said, **changes})  # type: ignore[arg-type]


def token(secret: bytes = SECRET, **changes: object) -> str:
    return sign(claims(**changes), secret)


@dataclass
class Caller:
    """An `Endpoint` as far as an `Agent` needs it: a container's address, and any key."""

    base_url: str
    api_key: str


@asynccontextmanager
async def caller(url: str, key: str) -> AsyncIterator[Agent]:
    """A client that calls a container with `key`."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Agent(Caller(f"{url}/v1", key), session)  # type: ignore[arg-type]


@asynccontextmanager
async def remote(
    url: str, *, run: str = RUN, secret: bytes = SECRET, model_timeout: float = 30.0
) -> AsyncIterator[RemoteGateway]:
    """The host's gateway to the containers at `url`."""
    gateway = RemoteGateway(url, run, secret, [MODEL, "replay"], model_timeout, cold_start=10.0)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@asynccontextmanager
async def remote_agent(gateway: RemoteGateway, key: TrialKey) -> AsyncIterator[Agent]:
    """An agent whose trial has an endpoint of the host's gateway."""
    endpoint = gateway.open(key)
    endpoint.set_workdir("/job")
    try:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Agent(endpoint, session)
    finally:
        await endpoint.close()


def at(endpoint: RemoteEndpoint, container: Container) -> Caller:
    """The same trial, whose next call another container takes."""
    return Caller(f"{container.url}/v1", endpoint.api_key)


class LosableShelf(MemoryShelf):
    """A shelf that a container can lose its way to."""

    lost = False

    def _reach(self) -> None:
        if self.lost:
            raise GatewayError(Cause.UNREACHABLE, "the shelf is away")

    async def get(self, key: str) -> bytes | None:
        self._reach()
        return await super().get(key)

    async def put(self, key: str, value: bytes) -> None:
        self._reach()
        await super().put(key, value)

    async def put_new(self, key: str, value: bytes) -> bool:
        self._reach()
        return await super().put_new(key, value)


def write_recording(suite: Path, text: str, task_id: str = "task") -> None:
    folder = suite / "replay"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task_id}.yaml").write_text(text)

"""URLs of web functions: each a small proxy that starts containers and streams through to them in turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from modal_proto import api_pb2
from yarl import URL

from tests.modal_server.containers import Container, StartError
from tests.modal_server.state import DEFAULT_ENVIRONMENT, Call, Function, RunningContainer, State
from tests.modal_server.wire import Empty

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
PROXY_TOKEN = {"Modal-Key": "wk-test", "Modal-Secret": "ws-test"}
"""Headers that a function with `requires_proxy_auth` wants."""
MAX_BODY = 1 << 30


@dataclass
class Site:
    """One function's URL. It stays the same when the app is stopped and deployed again."""

    url: str
    runner: web.AppRunner
    function: Function
    app_name: str
    wanted: int = 1
    """Containers that take the requests in turn."""
    slots: dict[int, Container] = field(default_factory=dict)
    turn: int = 0
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)


class Web:
    def __init__(self, state: State) -> None:
        self._state = state
        self._sites: dict[tuple[str, str, str], Site] = {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self, function: Function, app_name: str) -> str:
        """Serve `function` of the app; returns the URL."""
        key = (function.environment, app_name, function.name)
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = await self._listen(function, app_name)
        site.function = function
        return site.url

    async def close(self) -> None:
        await asyncio.gather(*[container.end() for container in list(self._state.containers.values())])
        for site in self._sites.values():
            await site.runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def TaskList(self, request: api_pb2.TaskListRequest, call: Call) -> api_pb2.TaskListResponse:
        found = [
            container
            for container in self._state.containers.values()
            if request.app_id in ("", container.app)
        ]
        return api_pb2.TaskListResponse(tasks=[_stats(container) for container in found])

    async def ContainerStop(self, request: api_pb2.ContainerStopRequest, call: Call) -> Empty:
        container = self._state.containers.get(request.task_id)
        if container is not None:
            await container.end()
        return Empty()

    def admin_containers(self) -> list[dict[str, Any]]:
        """The containers that are alive: id, app, function, url of their own."""
        return [container.describe() for container in self._alive()]

    def admin_container_log(self, *, id: str) -> str:
        """What a container wrote to stdout and stderr. Raises `LookupError`."""
        return next(c for c in self._all() if c.id == id).log()

    async def admin_start(
        self, *, app: str, function: str, containers: int = 1, environment: str = DEFAULT_ENVIRONMENT
    ) -> str:
        """Let a deployed web function have so many containers, and start them; returns its URL.

        Raises `LookupError` when it is not deployed, `ValueError` when a container does not come up.
        """
        site = self._sites[environment, app, function]
        site.wanted = containers
        try:
            for slot in range(containers):
                await self._ready(site, slot)
        except StartError as error:
            raise ValueError(str(error)) from error
        return site.url

    async def admin_end_container(self, *, id: str, kill: bool = False) -> None:
        """End a container: as Modal scales down, or, with `kill`, as a machine is lost."""
        await next(c for c in self._alive() if c.id == id).end(kill=kill)

    def _all(self) -> list[Container]:
        return [container for site in self._sites.values() for container in site.slots.values()]

    def _alive(self) -> list[Container]:
        return [container for container in self._all() if container.alive]

    async def _listen(self, function: Function, app_name: str) -> Site:
        app = web.Application(client_max_size=MAX_BODY)
        runner = web.AppRunner(app, access_log=None)
        site = Site("", runner, function, app_name)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(site, request)

        app.router.add_route("*", "/{path:.*}", handle)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return site

    async def _handle(self, site: Site, request: web.Request) -> web.StreamResponse:
        definition = site.function.published
        app = self._state.apps.get(site.function.app)
        if definition is None or app is None or app.state == api_pb2.APP_STATE_STOPPED:
            return web.Response(status=404, text="modal-http: app for invoked web endpoint is stopped")
        if definition.webhook_config.type != api_pb2.WEBHOOK_TYPE_WEB_SERVER:
            return web.Response(status=501, text="tests/modal_server runs functions with web_server only")
        if definition.webhook_config.requires_proxy_auth and not _authorized(request):
            return web.Response(status=401, text="modal-http: missing credentials for proxy authorization")
        site.turn += 1
        try:
            container = await self._ready(site, site.turn % site.wanted)
        except StartError as error:
            return web.Response(status=500, text=f"modal-http: internal error: function failed\n{error}")
        try:
            return await self._forward(container.url, request)
        except aiohttp.ClientConnectorError as error:
            await container.end()  # its server is gone; the next request gets a container with one
            return web.Response(status=502, text=f"modal-http: {error}")
        except aiohttp.ClientConnectionError as error:
            return web.Response(status=502, text=f"modal-http: {error}")

    async def _ready(self, site: Site, slot: int) -> Container:
        """The container of a slot, started when there is none that lives. Raises `StartError`."""
        async with site.starting:
            container = site.slots.get(slot)
            if container is None or not container.alive:
                container = site.slots[slot] = Container(self._state, site.function, site.app_name)
                await container.start()
            return container

    async def _forward(self, url: str, request: web.Request) -> web.StreamResponse:
        """Carry one request; a reply that breaks off inside breaks off outside too."""
        self._session = self._session or aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(limit=0),
        )
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        target = URL(f"{url}{request.raw_path}", encoded=True)
        body = request.content if request.body_exists else None
        async with self._session.request(
            request.method, target, headers=headers, data=body, allow_redirects=False
        ) as inner:
            outer = web.StreamResponse(status=inner.status, reason=inner.reason)
            outer.headers.extend((n, v) for n, v in inner.headers.items() if n.lower() not in HOP_BY_HOP)
            await outer.prepare(request)
            try:
                async for chunk in inner.content.iter_any():
                    await outer.write(chunk)
            except aiohttp.ClientError:
                if request.transport is not None:
                    request.transport.abort()
                return outer
            await outer.write_eof()
            return outer


def _authorized(request: web.Request) -> bool:
    return all(request.headers.get(name) == value for name, value in PROXY_TOKEN.items())


def _stats(container: RunningContainer) -> api_pb2.TaskStats:
    return api_pb2.TaskStats(
        task_id=container.id,
        app_id=container.app,
        started_at=container.started,
        enqueued_at=container.started,
    )

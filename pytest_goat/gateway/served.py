"""The deployed gateway: the recording proxy for all trials of all runs, on one public port.

| request | with the token of | what |
|---|---|---|
| `POST /v1/chat/completions` | a trial | a model call, carried as everywhere and seen in the trial's log |
| `GET /v1/models` | a trial | its own model |
| `GET /v1/waited` | a trial | how long rate limits have held its calls back |
| `GET /health` | nobody | 200 when it serves, 503 while it starts |
| `PUT /goat/recordings/<name>` | a run | a recording for the trials of the run |
| `GET /goat/trials/<attempt>/seen` | a run | what was seen of a trial of the run |
| `GET /goat/trials/<attempt>/waited` | a run | how long rate limits have held the trial's calls back |
| `POST /goat/trials/<attempt>/close` | a run | the trial's token is worth nothing from now on |
| `GET /goat/waiting` | a run | what rate limits hold back in this container now |

Nothing is kept here that another container must know: that lies on the shelf.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from pytest_goat.errors import GatewayError, TaskError
from pytest_goat.gateway.attempt import Attempt, closed_key
from pytest_goat.gateway.base import Waiting
from pytest_goat.gateway.exchange import AgentGone, Exchange
from pytest_goat.gateway.log import read_log, waited
from pytest_goat.gateway.recordings import MAX_SIZE, MODEL, Recording, recording_key, recording_name
from pytest_goat.gateway.replay import is_replay
from pytest_goat.gateway.request import Refused
from pytest_goat.gateway.runs import Runs
from pytest_goat.gateway.serving import (
    LOGGER,
    MODELS,
    WAITED,
    Turned,
    bearer,
    models_answer,
    read_body,
    refusal,
    unknown_url,
    waited_answer,
)
from pytest_goat.gateway.shelf import Shelf
from pytest_goat.gateway.throttle import Throttles
from pytest_goat.gateway.token import RUN, TRIAL, Claims, RunRecord, run_of, verify
from pytest_goat.gateway.upstream import Upstream, error_body
from pytest_goat.redact import Redactor

_MAX_CONNECTIONS = 4000
_MAX_MODEL_TIMEOUT = 1800.0
"""Seconds."""
_SWEEP = 60.0
"""Seconds between two looks for trials whose token has expired."""
_GRACE = 2.0
"""Seconds that calls under way get to end when the gateway stops."""

_RECORDING = re.compile("/goat/recordings/([0-9a-f]{32})")
_SEEN = re.compile("/goat/trials/(.+)/seen")
_RUNS_WAITED = re.compile("/goat/trials/(.+)/waited")
_CLOSE = re.compile("/goat/trials/(.+)/close")


class ServedGateway:
    """Serves the models of `upstreams` (recordings under `replay`) to trials whose runs are on `shelf`.

    One per container; it serves on a socket between `start` and `stop`. `health` gives the content of
    `GET /health`, whose `status` is `ok` when all is ready; `secrets` are taken out of all that is passed on.
    """

    def __init__(
        self,
        shelf: Shelf,
        upstreams: Mapping[str, Upstream],
        health: Callable[[], Mapping[str, Any]] = lambda: {"status": "ok"},
        secrets: Iterable[str] = (),
    ) -> None:
        self._shelf, self._upstreams, self._health = shelf, upstreams, health
        known = {secret for upstream in upstreams.values() for secret in upstream.secrets}
        self._redactor = Redactor([*known, *secrets])
        self._runs = Runs(shelf)
        self._attempts: dict[Claims, Attempt] = {}
        self._throttles = Throttles()
        self._swept = 0.0
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None, logger=LOGGER)
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that listens."""
        for upstream in set(self._upstreams.values()):
            await upstream.start()
        self._server = await asyncio.get_running_loop().create_server(self._connect, sock=listener)

    async def stop(self) -> None:
        """Take no more connections, and break off what has not ended shortly after."""
        if self._server is not None:
            self._server.close()
            self._web.pre_shutdown()
            await self._web.shutdown(_GRACE)
        for upstream in set(self._upstreams.values()):
            await upstream.stop()

    def _connect(self) -> asyncio.Protocol:
        return self._web() if len(self._web.connections) < _MAX_CONNECTIONS else Turned()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except Refused as refused:
            return refusal(refused)
        except AgentGone:
            return web.Response(status=400)
        except GatewayError as error:
            return web.json_response(error_body(str(error), "gateway_error", "unreachable"), status=503)

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        method, path = request.method, request.path
        if (method, path) == ("GET", "/health"):
            return self._tell_health()
        for known, pattern, serve in (
            ("PUT", _RECORDING, self._keep_recording),
            ("GET", _SEEN, self._tell_seen),
            ("GET", _RUNS_WAITED, self._tell_waited),
            ("POST", _CLOSE, self._close),
        ):
            if method == known and (found := pattern.fullmatch(path)):
                claims, _ = await self._caller(request, RUN)
                return await serve(request, claims.run, found[1])
        if method == "POST":
            return await (await self._attempt(request)).serve(request)
        if method == "GET":
            return await self._tell(request)
        raise unknown_url(request)

    async def _tell(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/goat/waiting":
            _, run = await self._caller(request, RUN)
            return web.json_response({"waiting": [dataclasses.asdict(row) for row in self._waiting(run)]})
        if not (MODELS.fullmatch(request.path) or WAITED.fullmatch(request.path)):
            raise unknown_url(request)
        attempt = await self._attempt(request)
        await attempt.check_open()
        if WAITED.fullmatch(request.path):
            return waited_answer(await waited(self._shelf, attempt.claims.run, attempt.claims.attempt))
        return models_answer(attempt.claims.model)

    def _waiting(self, run: RunRecord) -> Sequence[Waiting]:
        quotas = {
            model: self._upstreams[model].quota(model) for model in run.models if model in self._upstreams
        }
        return self._throttles.waiting(quotas)

    async def _caller(self, request: web.BaseRequest, role: str) -> tuple[Claims, RunRecord]:
        """Who calls, and the record of its run. Raises `Refused` when it is not `role`."""
        token = bearer(request)
        run = await self._runs.find(run_of(token))
        claims = verify(token, run.secret, time.time())
        if claims.role != role:
            message = f"this is for the key of a {role}, not of a {claims.role}"
            raise Refused(403, "insufficient_permissions", message)
        return claims, run

    async def _attempt(self, request: web.BaseRequest) -> Attempt:
        """The attempt whose token comes with a request. Raises `Refused`."""
        claims, run = await self._caller(request, TRIAL)
        if claims not in self._attempts:
            self._sweep()
            self._attempts[claims] = Attempt(claims, self._exchange(claims, run), self._shelf)
        return self._attempts[claims]

    def _exchange(self, claims: Claims, run: RunRecord) -> Exchange:
        if claims.model not in run.models:
            message = f"run {claims.run} may not ask for the model '{claims.model}'"
            raise Refused(403, "model_not_found", message)
        upstream = self._upstreams.get(MODEL if is_replay(claims.model) else claims.model)
        if upstream is None:
            raise Refused(
                404,
                "model_not_found",
                f"this gateway does not serve the model '{claims.model}'. Give its key with "
                "`python infra/setup.py`, then deploy anew: modal deploy infra/services.py --env goat",
            )
        throttle = self._throttles.of(upstream.quota(claims.model)) if claims.max_wait else None
        limit = min(claims.model_timeout, _MAX_MODEL_TIMEOUT)
        return Exchange(upstream, self._redactor, limit, throttle)

    def _sweep(self) -> None:
        """Forget trials whose token has expired."""
        if time.monotonic() < self._swept + _SWEEP:
            return
        self._swept = time.monotonic()
        now = time.time()
        self._attempts = {c: attempt for c, attempt in self._attempts.items() if c.expires > now}

    def _tell_health(self) -> web.Response:
        health = self._health()
        return web.json_response(health, status=200 if health["status"] == "ok" else 503)

    async def _keep_recording(self, request: web.BaseRequest, run: str, name: str) -> web.Response:
        data = await read_body(request, MAX_SIZE)
        if len(data) > MAX_SIZE:
            raise Refused(413, "body_too_large", f"a recording may have {MAX_SIZE // 2**20} MiB")
        try:
            Recording.from_bytes(data)
        except TaskError as error:
            raise Refused(400, "invalid_request_error", str(error)) from None
        if recording_name(data) != name:
            raise Refused(400, "invalid_request_error", "the recording's name is not that of its content")
        await self._shelf.put(recording_key(run, name), data)
        return web.json_response({})

    async def _tell_seen(self, request: web.BaseRequest, run: str, attempt: str) -> web.Response:
        entries = await read_log(self._shelf, run, attempt)
        calls = [dataclasses.asdict(entry.as_call()) for entry in entries]
        heard = [entry.heard.to_json() for entry in entries if entry.heard is not None]
        return web.json_response({"calls": calls, "heard": heard})

    async def _tell_waited(self, request: web.BaseRequest, run: str, attempt: str) -> web.Response:
        return waited_answer(await waited(self._shelf, run, attempt))

    async def _close(self, request: web.BaseRequest, run: str, attempt: str) -> web.Response:
        await self._shelf.put(closed_key(run, attempt), b"")
        served = [c for c in self._attempts if (c.run, c.attempt) == (run, attempt)]
        for claims in served:
            await self._attempts.pop(claims).close()
        return web.json_response({})

"""The recording proxy between agents and models: the gateway of every mode.

Each trial has an endpoint of its own, on a socket that its sandbox made. It serves
`POST .../v1/chat/completions`, `GET .../v1/models` (the trial's own model) and `GET .../v1/waited` (how long
rate limits have held its calls back), and nothing else. It never makes an answer up, and tries again only
what a provider refuses for its rate: an agent's own retries would be burnt on that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from pytest_goat.errors import Cause, GatewayError, UserError
from pytest_goat.gateway import serving
from pytest_goat.gateway.ask import ask
from pytest_goat.gateway.base import ModelCall, Seen, TrialKey, Waiting
from pytest_goat.gateway.exchange import Exchange, Sink, refuse
from pytest_goat.gateway.record import CallRecord, TrialRecord
from pytest_goat.gateway.request import Refused
from pytest_goat.gateway.serving import (
    LOGGER,
    MODELS,
    WAITED,
    HttpSink,
    Turned,
    bearer,
    check_budget,
    models_answer,
    refusal,
    serve_chat,
    too_many_calls,
    unknown_url,
    waited_answer,
)
from pytest_goat.gateway.throttle import Throttles
from pytest_goat.gateway.token import claims_for, sign, verify
from pytest_goat.gateway.upstream import Upstream
from pytest_goat.redact import Redactor

_CLOSE_TIMEOUT = 0.05
"""Seconds that calls get to end when their endpoint closes: the sandbox is gone by then."""

_MAX_CONNECTIONS = 64
"""Of one trial, so that a runaway agent does not take the descriptors of the others."""

_PLACEHOLDER = "goat"
"""The key where none is needed: clients refuse to start without one."""


class TrialEndpoint:
    """`Endpoint` of one trial: `key` says whose, `exchange` how its calls are carried."""

    def __init__(
        self, key: TrialKey, exchange: Exchange, secret: bytes, closed: Callable[[TrialEndpoint], None]
    ) -> None:
        """`secret` signs the trial's token; `closed` is called when the endpoint is."""
        self._nonce = secrets.token_hex(8)
        self._key = dataclasses.replace(key, attempt=self._nonce)
        self._exchange, self._secret, self._when_closed = exchange, secret, closed
        self._loop = asyncio.get_running_loop()
        self._opened = time.time()
        self._private = self._closed = False
        self._workdir = self._base_url = ""
        self._listener: socket.socket | None = None
        self._listening: asyncio.Task[asyncio.Server] | None = None
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None, logger=LOGGER)
        self._record = TrialRecord(exchange.redactor, keep_words=key.record)

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def api_key(self) -> str:
        if self._private:
            return _PLACEHOLDER
        limit = self._exchange.model_timeout
        return sign(claims_for(self._key, self._nonce, self._opened, limit, self._workdir), self._secret)

    def set_workdir(self, workdir: str) -> None:
        self._workdir = workdir

    def attach(self, listener: socket.socket, private: bool) -> None:
        """As `Endpoint.attach`; once, from any thread."""
        self._listener, self._private = listener, private
        self._base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self._loop.call_soon_threadsafe(self._listen, listener)

    def _listen(self, listener: socket.socket) -> None:
        if not self._closed:
            self._listening = self._loop.create_task(self._loop.create_server(self._connect, sock=listener))

    def _connect(self) -> asyncio.Protocol:
        return self._web() if len(self._web.connections) < _MAX_CONNECTIONS else Turned()

    async def seen(self) -> Seen:
        return self._record.seen()

    async def waited(self) -> float:
        return self._record.waited

    async def ask(self, prompt: str) -> str:
        return await ask(self._call, self._key.model, prompt)

    async def _call(self, raw: bytes, sink: Sink) -> ModelCall:
        if self._closed:
            raise GatewayError(Cause.INTERNAL, "the trial's endpoint is closed")
        record = self._begin()
        try:
            await self._exchange.carry(raw, self._key, self._workdir, record, sink)
        finally:
            call = self._record.close(record)
        return call

    def _begin(self) -> CallRecord:
        return self._record.begin(self._key.max_wait)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._when_closed(self)
        if self._listening is not None:
            with contextlib.suppress(OSError):
                (await self._listening).close()
            self._web.pre_shutdown()
            await self._web.shutdown(_CLOSE_TIMEOUT)
        if self._listener is not None:
            self._listener.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return self._tell(request)
        if len(self._record) >= serving.MAX_CALLS:
            return refusal(too_many_calls())
        record, sink = self._begin(), HttpSink(request)
        try:
            self._check_token(request)
            check_budget(self._key.max_cost, self._record.spent)
            await serve_chat(request, self._exchange, self._key, self._workdir, record, sink)
        except Refused as refused:
            await refuse(refused, record, sink)
        finally:
            self._record.close(record)
        return sink.response

    def _tell(self, request: web.BaseRequest) -> web.Response:
        try:
            self._check_token(request)
            if request.method == "GET" and MODELS.fullmatch(request.path):
                return models_answer(self._key.model)
            if request.method == "GET" and WAITED.fullmatch(request.path):
                return waited_answer(self._record.waited)
            raise unknown_url(request)
        except Refused as refused:
            return refusal(refused)

    def _check_token(self, request: web.BaseRequest) -> None:
        if self._private:
            return
        if verify(bearer(request), self._secret, time.time()).nonce != self._nonce:
            raise Refused(401, "invalid_api_key", "this key (OPENAI_API_KEY) is another trial's")


class ProxyGateway:
    """`Gateway` to the models named by `upstreams`."""

    def __init__(self, upstreams: Mapping[str, Upstream], model_timeout: float) -> None:
        """`model_timeout`: seconds without a byte after which a call ends."""
        self._upstreams = upstreams
        self._model_timeout = model_timeout
        self._secret = secrets.token_bytes(32)
        self._endpoints: set[TrialEndpoint] = set()
        self._throttles = Throttles()

    @property
    def name(self) -> str:
        return "+".join(sorted({upstream.name for upstream in self._upstreams.values()}))

    @property
    def hosts(self) -> tuple[str, ...]:
        return ()

    async def start(self) -> None:
        for upstream in set(self._upstreams.values()):
            await upstream.start()

    def handover(self) -> dict[str, str]:
        return {key: value for one in self._upstreams.values() for key, value in one.handover().items()}

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        await self._upstream(model).preflight(model, keys)

    def open(self, key: TrialKey, model_timeout: float | None = None) -> TrialEndpoint:
        upstream = self._upstream(key.model)
        limit = self._model_timeout if model_timeout is None else min(model_timeout, self._model_timeout)
        throttle = self._throttles.of(upstream.quota(key.model)) if key.max_wait else None
        exchange = Exchange(upstream, Redactor(upstream.secrets), limit, throttle)
        endpoint = TrialEndpoint(key, exchange, self._secret, self._endpoints.discard)
        self._endpoints.add(endpoint)
        return endpoint

    def waiting(self) -> Sequence[Waiting]:
        quotas = {model: upstream.quota(model) for model, upstream in self._upstreams.items()}
        return self._throttles.waiting(quotas)

    async def stop(self) -> None:
        await asyncio.gather(*(endpoint.close() for endpoint in list(self._endpoints)))
        for upstream in set(self._upstreams.values()):
            await upstream.stop()

    def _upstream(self, model: str) -> Upstream:
        try:
            return self._upstreams[model]
        except KeyError:
            known = ", ".join(sorted(self._upstreams))
            raise UserError(f"the gateway knows no model '{model}', only: {known}") from None

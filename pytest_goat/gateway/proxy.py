"""The recording proxy between agents and models: the gateway of every mode.

Each trial has an endpoint of its own, on a socket that its sandbox made. It serves
`POST .../v1/chat/completions` and `GET .../v1/models` (the trial's own model), and nothing else. It never
retries and never makes an answer up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

from aiohttp import web

from pytest_goat.errors import Cause, GatewayError, UserError
from pytest_goat.gateway.ask import ask
from pytest_goat.gateway.base import ModelCall, Seen, TrialKey
from pytest_goat.gateway.exchange import AgentGone, Exchange, Sink, refuse
from pytest_goat.gateway.record import TrialRecord
from pytest_goat.gateway.request import MAX_BODY, Refused
from pytest_goat.gateway.upstream import Upstream, error_body
from pytest_goat.redact import Redactor

_WRITE_TIMEOUT = 30.0
"""Seconds that an agent may take to read what was written."""

_CLOSE_TIMEOUT = 0.05
"""Seconds that calls get to end when their endpoint closes: the sandbox is gone by then."""

_MAX_CONNECTIONS = 64
_MAX_CALLS = 10_000
"""Of one trial, so that a runaway agent takes neither the descriptors nor the memory of the others."""

_PLACEHOLDER = "goat"
"""The key where none is needed: clients refuse to start without one."""

_CHAT = re.compile(r"(/.*)?/v1/+chat/completions/?")
_MODELS = re.compile(r"(/.*)?/v1/+models/?")

# What a sandbox sends must not write to the user's terminal, so nobody hears this logger unasked.
_LOGGER = logging.getLogger("pytest_goat.gateway")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class TrialEndpoint:
    """`Endpoint` of one trial: `key` says whose, `exchange` how its calls are carried."""

    def __init__(self, key: TrialKey, exchange: Exchange, closed: Callable[[TrialEndpoint], None]) -> None:
        self._key, self._exchange, self._when_closed = key, exchange, closed
        self._loop = asyncio.get_running_loop()
        self._token = f"goat-{secrets.token_urlsafe(24)}"
        self._private = self._closed = False
        self._workdir = self._base_url = ""
        self._listener: socket.socket | None = None
        self._listening: asyncio.Task[asyncio.Server] | None = None
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None, logger=_LOGGER)
        self._record = TrialRecord(exchange.redactor)

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def api_key(self) -> str:
        return _PLACEHOLDER if self._private else self._token

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
        return self._web() if len(self._web.connections) < _MAX_CONNECTIONS else _Turned()

    async def seen(self) -> Seen:
        return self._record.seen()

    async def ask(self, prompt: str) -> str:
        return await ask(self._call, self._key.model, prompt)

    async def _call(self, raw: bytes, sink: Sink) -> ModelCall:
        if self._closed:
            raise GatewayError(Cause.INTERNAL, "the trial's endpoint is closed")
        record = self._record.begin()
        try:
            await self._exchange.carry(raw, self._key, self._workdir, record, sink)
        finally:
            call = self._record.close(record)
        return call

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
        if len(self._record) >= _MAX_CALLS:
            return _error(Refused(403, "too_many_calls", f"more than {_MAX_CALLS} calls in one trial"))
        record, sink = self._record.begin(), HttpSink(request)
        try:
            self._check_token(request)
            if not _CHAT.fullmatch(request.path):
                raise _unknown(request)
            raw = await _body(request)
            await self._exchange.carry(raw, self._key, self._workdir, record, sink)
        except Refused as refused:
            await refuse(refused, record, sink)
        except AgentGone:
            sink.cut()
        finally:
            self._record.close(record)
        return sink.response

    def _tell(self, request: web.BaseRequest) -> web.Response:
        try:
            self._check_token(request)
            if request.method != "GET" or not _MODELS.fullmatch(request.path):
                raise _unknown(request)
        except Refused as refused:
            return _error(refused)
        model = {"id": self._key.model, "object": "model", "created": 0, "owned_by": "goat"}
        return web.json_response({"object": "list", "data": [model]})

    def _check_token(self, request: web.BaseRequest) -> None:
        if self._private:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(token.strip().encode(errors="surrogateescape"), self._token.encode())
        if scheme.lower() != "bearer" or not same:
            message = "this gateway wants the trial's own key (OPENAI_API_KEY) as a Bearer token"
            raise Refused(401, "invalid_api_key", message)


class ProxyGateway:
    """`Gateway` to the models named by `upstreams`."""

    def __init__(self, upstreams: Mapping[str, Upstream], model_timeout: float) -> None:
        """`model_timeout`: seconds without a byte after which a call ends."""
        self._upstreams = upstreams
        self._model_timeout = model_timeout
        self._endpoints: set[TrialEndpoint] = set()

    @property
    def name(self) -> str:
        return "+".join(sorted({upstream.name for upstream in self._upstreams.values()}))

    @property
    def hosts(self) -> tuple[str, ...]:
        return ()

    async def start(self) -> None:
        for upstream in set(self._upstreams.values()):
            await upstream.start()

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        await self._upstream(model).preflight(model, keys)

    def open(self, key: TrialKey, model_timeout: float | None = None) -> TrialEndpoint:
        upstream = self._upstream(key.model)
        limit = self._model_timeout if model_timeout is None else min(model_timeout, self._model_timeout)
        exchange = Exchange(upstream, Redactor(upstream.secrets), limit)
        endpoint = TrialEndpoint(key, exchange, self._endpoints.discard)
        self._endpoints.add(endpoint)
        return endpoint

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


class HttpSink:
    """Writes an answer to the agent's connection, each part at once."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.response = web.StreamResponse()
        self.started = False

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.response = web.StreamResponse(status=status, headers=headers)
        self.started = True
        with _while_there():
            await self.response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        if not data:
            return
        with _while_there():
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await self.response.write(data)

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class _Turned(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@contextlib.contextmanager
def _while_there() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise AgentGone from error


async def _body(request: web.BaseRequest) -> bytes:
    """The request's body, read no further than just beyond `MAX_BODY`."""
    raw = bytearray()
    try:
        async for part in request.content.iter_any():
            raw += part
            if len(raw) > MAX_BODY:
                break
    except (web.RequestPayloadError, ConnectionError) as error:
        raise AgentGone from error
    return bytes(raw)


def _unknown(request: web.BaseRequest) -> Refused:
    message = (
        "this gateway serves POST /v1/chat/completions and GET /v1/models, "
        f"not {request.method} {request.path[:200]}"
    )
    return Refused(404, "unknown_url", message)


def _error(refused: Refused) -> web.Response:
    content = error_body(str(refused), "invalid_request_error", refused.code)
    return web.json_response(content, status=refused.status)

"""What a trial's local endpoint and the deployed gateway serve alike: requests read, answers written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping

from aiohttp import web

from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.causes import OVER_BUDGET
from pytest_goat.gateway.exchange import AgentGone, Exchange, refuse
from pytest_goat.gateway.record import CallRecord
from pytest_goat.gateway.request import MAX_BODY, Refused
from pytest_goat.gateway.upstream import error_body

MAX_CALLS = 10_000
"""Of one trial, so that a runaway agent does not take the memory of the others."""

_CHAT = re.compile(r"(/.*)?/v1/+chat/completions/?")
MODELS = re.compile(r"(/.*)?/v1/+models/?")
WAITED = re.compile(r"(/.*)?/v1/+waited/?")

_WRITE_TIMEOUT = 30.0
"""Seconds that an agent may take to read what was written."""

# What a sandbox sends must not write to the user's terminal, so nobody hears this logger unasked.
LOGGER = logging.getLogger("pytest_goat.gateway")
LOGGER.addHandler(logging.NullHandler())
LOGGER.propagate = False


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

    async def held(self, held: bool) -> None:
        """An agent is told nothing."""

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class Turned(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def serve_chat(
    request: web.BaseRequest,
    exchange: Exchange,
    key: TrialKey,
    workdir: str,
    record: CallRecord,
    sink: HttpSink,
) -> None:
    """Read a chat completion, carry it to the model and its answer back; `record` tells how it went.

    Whatever else was posted is refused. Raises nothing, but can be cancelled.
    """
    try:
        if not _CHAT.fullmatch(request.path):
            raise unknown_url(request)
        raw = await read_body(request, MAX_BODY)
        await exchange.carry(raw, key, workdir, record, sink)
    except Refused as refused:
        await refuse(refused, record, sink)
    except AgentGone:
        sink.cut()


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """The request's body, read no further than just beyond `most` bytes. Raises `AgentGone`."""
    raw = bytearray()
    try:
        async for part in request.content.iter_any():
            raw += part
            if len(raw) > most:
                break
    except (web.RequestPayloadError, ConnectionError) as error:
        raise AgentGone from error
    return bytes(raw)


def bearer(request: web.BaseRequest) -> str:
    """The token that comes with a request. Raises `Refused` (401) when none does."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        message = "this gateway wants the trial's own key (OPENAI_API_KEY) as a Bearer token"
        raise Refused(401, "invalid_api_key", message)
    return token.strip()


def models_answer(model: str) -> web.Response:
    """The list of models that a trial is told: its own."""
    listed = {"id": model, "object": "model", "created": 0, "owned_by": "goat"}
    return web.json_response({"object": "list", "data": [listed]})


def waited_answer(seconds: float) -> web.Response:
    """How long rate limits have held a trial's calls back: not the agent's own time."""
    return web.json_response({"waited": seconds})


def unknown_url(request: web.BaseRequest) -> Refused:
    message = (
        "this gateway serves POST /v1/chat/completions and GET /v1/models, "
        f"not {request.method} {request.path[:200]}"
    )
    return Refused(404, "unknown_url", message)


def too_many_calls() -> Refused:
    return Refused(403, "too_many_calls", f"more than {MAX_CALLS} calls in one trial")


def check_budget(limit: float | None, spent: float) -> None:
    """Raises `Refused` (403) when a trial has spent the `limit` that it may; both in USD, None for any."""
    if limit is not None and spent >= limit:
        raise Refused(403, OVER_BUDGET, f"this trial has spent the {limit:g} USD that it may")


def refusal(refused: Refused) -> web.Response:
    """The answer that says no outside any call."""
    content = error_body(str(refused), "invalid_request_error", refused.code)
    return web.json_response(content, status=refused.status)


@contextlib.contextmanager
def _while_there() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise AgentGone from error

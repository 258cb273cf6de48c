"""One attempt of a trial, as one container of a deployed gateway serves it: limits, log, calls."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

from aiohttp import web

from pytest_goat.errors import GatewayError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.exchange import Exchange, refuse
from pytest_goat.gateway.heard import Words
from pytest_goat.gateway.log import Claim, TrialLog
from pytest_goat.gateway.record import CallRecord
from pytest_goat.gateway.request import Refused
from pytest_goat.gateway.serving import LOGGER, HttpSink, check_budget, serve_chat
from pytest_goat.gateway.shelf import Shelf
from pytest_goat.gateway.token import Claims

_AT_ONCE = 64
"""Calls that one trial may have under way in one container."""

_LOOK = 1.0
"""Seconds after which it is looked again whether another container has closed the trial."""

_MINUTE = 60.0

_HELD = 75.0
"""Seconds that one call may be held back here: after 150 s without an answer Modal turns a request into a
redirect, and the model needs its own time. The agent's client then tries again.
https://modal.com/docs/guide/webhook-timeouts
"""


class Attempt:
    """Serves the calls of one token."""

    def __init__(self, claims: Claims, exchange: Exchange, shelf: Shelf) -> None:
        self.claims = claims
        self._exchange, self._shelf = exchange, shelf
        self._key = TrialKey(claims.run, claims.trial, claims.task, claims.model, recording=claims.recording)
        self._log = TrialLog(shelf, claims.run, claims.attempt)
        self._calls: set[asyncio.Task[object]] = set()
        self._recent: deque[float] = deque()
        self._looked = 0.0
        self._waited = 0.0
        self._closed = False

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one model call. Raises `Refused` for one that is not seen, and `GatewayError`."""
        await self.check_open()
        if len(self._calls) >= _AT_ONCE:
            raise Refused(429, "too_many_requests", f"more than {_AT_ONCE} calls at once in one trial")
        task = asyncio.current_task()
        assert task is not None, "aiohttp handles each request in a task"  # noqa: S101
        self._calls.add(task)
        try:
            return await self._serve(request)
        finally:
            self._calls.discard(task)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        claim = await self._log.claim()
        record = CallRecord(time.monotonic(), self._exchange.redactor)
        record.allowance, record.longest = self.claims.max_wait - self._waited, _HELD
        record.found.words = Words() if self.claims.record else None
        sink = _SeenSink(request, record, self._log, claim)
        try:
            await self._check_limits()
            await serve_chat(request, self._exchange, self._key, self.claims.workdir, record, sink)
        except Refused as refused:
            await refuse(refused, record, sink)
        finally:
            record.stop()
            self._waited += record.waited
            await sink.tell()
        return sink.response

    async def check_open(self) -> None:
        """Raises `Refused` (401) when the trial is over, and `GatewayError`."""
        if not self._closed and time.monotonic() >= self._looked + _LOOK:
            self._closed = await self._shelf.get(closed_key(self.claims.run, self.claims.attempt)) is not None
            self._looked = time.monotonic()
        if self._closed:
            raise Refused(401, "token_expired", "this key (OPENAI_API_KEY) is of a trial that is over")

    async def close(self) -> None:
        """Serve nothing from now on; calls under way are broken off."""
        self._closed = True
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _check_limits(self) -> None:
        """By the calls of this container in the last minute, and by what all of them have spent."""
        most, now = self.claims.requests_per_minute, time.monotonic()
        if most is not None:
            while self._recent and self._recent[0] <= now - _MINUTE:
                self._recent.popleft()
            if len(self._recent) >= most:
                raise Refused(429, "too_many_requests", f"more than {most} requests in a minute")
            self._recent.append(now)
        if self.claims.max_cost is not None:
            check_budget(self.claims.max_cost, await self._log.spent())


def closed_key(run: str, attempt: str) -> str:
    """Where it lies on the shelf that a trial is over."""
    return f"closed/{run}/{attempt}"


class _SeenSink(HttpSink):
    """Puts a call that has ended into the log before the agent hears that it has."""

    def __init__(self, request: web.BaseRequest, record: CallRecord, log: TrialLog, claim: Claim) -> None:
        super().__init__(request)
        self._record, self._log, self._claim = record, log, claim
        self._telling: asyncio.Task[None] | None = None

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        await self._tell_when_ended()
        await super().start(status, headers)

    async def write(self, data: bytes) -> None:
        await self._tell_when_ended()
        await super().write(data)

    async def held(self, held: bool) -> None:
        try:
            await self._log.hold(self._claim, self._record.waited, held=held)
        except GatewayError as error:
            LOGGER.error("a wait is not in the log: %s", error)

    async def _tell_when_ended(self) -> None:
        if self._record.ended:
            await self.tell()

    async def tell(self) -> None:
        """Put the call as it is now into the log, once. An agent that leaves does not stop it."""
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())
        await asyncio.shield(self._telling)

    async def _tell(self) -> None:
        try:
            call = self._record.as_call()
            await self._log.end(self._claim, call, self._record.heard(call))
        except GatewayError as error:
            LOGGER.error("a call stays under way in the log: %s", error)

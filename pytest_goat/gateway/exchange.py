"""One call, from the agent's bytes to the last byte of the answer: the way that every call takes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pytest_goat.gateway.answer import EventReader, JsonReader, Reader, read_cost
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.causes import HELD_TOO_LONG, Ending, Outcome, is_refusal
from pytest_goat.gateway.record import CallRecord
from pytest_goat.gateway.request import ModelRequest, Refused, read_request
from pytest_goat.gateway.throttle import Throttle, retry_after
from pytest_goat.gateway.upstream import Answer, Upstream, UpstreamBroken, error_body
from pytest_goat.redact import Redactor

_MAX_ERROR = 1024 * 1024
"""Bytes read of an answer that is an error."""

_PASSED_ON = ("content-type", "retry-after", "retry-after-ms", "x-request-id")
"""Headers that the agent gets. The others belong to the connection (RFC 9110, 7.6.1), to the body's coding,
which may change, or to the account that pays."""

_GRACE = 5.0
"""Seconds to wait for what may follow the end of an answer (usage, and the end of the stream), and for the
words of an error."""

_MOST_REFUSALS = 8
"""Of one call: more than come before a limit by the minute opens again. Others may be let through meanwhile,
but not this one."""

_STATUS = {Ending.UNREACHABLE: 502, Ending.SILENT: 504, Ending.CUT: 502, Ending.BUG: 500}
"""What the agent is answered when the provider gave no answer."""


class AgentGone(Exception):
    """Nobody is there any more to take the answer."""


class Sink(Protocol):
    """Who gets the answer. `start` and `write` raise `AgentGone`."""

    @property
    def started(self) -> bool: ...

    async def start(self, status: int, headers: Mapping[str, str]) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def held(self, held: bool) -> None:
        """Nothing is to come as long as a rate limit holds the call back: told when that begins and ends."""

    def cut(self) -> None:
        """Break off, so that nobody takes what was written for a whole answer."""


class Collector:
    """A sink that keeps the answer: for calls of the harness itself."""

    def __init__(self) -> None:
        self.started = False
        self.data = bytearray()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True

    async def write(self, data: bytes) -> None:
        self.data += data

    async def held(self, held: bool) -> None:
        """Nobody is told."""

    def cut(self) -> None:
        self.data.clear()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is the same for all calls of a trial."""

    upstream: Upstream
    redactor: Redactor
    model_timeout: float
    """Seconds without a byte after which a call ends."""
    throttle: Throttle | None = None
    """The rate limit that holds calls back and has them tried again; None: all that comes is passed on."""

    async def carry(self, raw: bytes, key: TrialKey, workdir: str, record: CallRecord, sink: Sink) -> None:
        """Check the request `raw`, forward it, pass the answer on as it comes, and note how it went.

        Raises nothing, but can be cancelled.
        """
        try:
            request = record.request = read_request(raw, key, workdir)
            record.model_asked = request.model_asked
            await self._forward(request, record, sink)
        except AgentGone:
            sink.cut()
        except Refused as refused:
            await refuse(refused, record, sink)
        except UpstreamBroken as broken:
            await self._break(broken.ending, str(broken), record, sink)
        except Exception as bug:
            await self._break(Ending.BUG, f"the gateway failed: {bug!r}", record, sink)

    async def _forward(self, request: ModelRequest, record: CallRecord, sink: Sink) -> None:
        """Ask until there is an answer that is no refusal for the rate, of which the agent sees nothing."""
        record.forwarded = True
        while True:
            await self._take_turn(record, sink)
            if await self._ask(request, record, sink):
                return
            record.again()

    async def _take_turn(self, record: CallRecord, sink: Sink) -> None:
        """Be held back as long as the rate limit wants. Raises `Refused` (429) when that is too long."""
        throttle = self.throttle
        if throttle is None:
            return
        if not throttle.take():
            record.hold()
            await sink.held(True)
            if not await throttle.wait(record.patience):
                message = f"the model's rate limit has held this call back for {record.waited:.0f} s"
                raise Refused(429, HELD_TOO_LONG, message, record.model_asked)
            record.release()
            await sink.held(False)
        record.sent = throttle.now()

    async def _ask(self, request: ModelRequest, record: CallRecord, sink: Sink) -> bool:
        """Send the request and pass the answer on; False when it is one that nobody needs to know of."""
        found, now = record.found, asyncio.get_running_loop().time
        limit, grace = self.model_timeout, min(self.model_timeout, _GRACE)

        async def give(step: Awaitable[None]) -> None:
            # The model is not to blame for the time that the agent takes to read.
            patience.reschedule(None)
            await step
            patience.reschedule(now() + (grace if found.complete else limit))

        try:
            async with asyncio.timeout(limit) as patience, self.upstream.answer(request) as answer:
                reader = _reader(request, answer, record)
                record.status = answer.status
                if answer.status >= 300:
                    patience.reschedule(None)
                    return await self._forward_error(answer, reader, record, sink)
                async with contextlib.aclosing(answer.body) as body:
                    async for data in body:
                        record.byte()
                        shown = reader.feed(self.redactor.data(data))
                        if self._begins_anew(answer, record, sink):
                            return False
                        if found.done:
                            # Known before the agent is told: it may be gone a moment later.
                            record.end(*_outcome(answer, record))
                        await give(self._give(shown, answer, record, sink))
        except TimeoutError:
            if not found.complete:
                raise UpstreamBroken(Ending.SILENT, f"no byte from the model for {limit:g} s") from None
        except UpstreamBroken:
            # Some servers just hang up after the last event.
            if not found.complete:
                raise
        rest = reader.end()
        if self._begins_anew(answer, record, sink):
            return False
        record.end(*_outcome(answer, record))
        await self._give(rest, answer, record, sink)
        return True

    async def _give(self, data: bytes, answer: Answer, record: CallRecord, sink: Sink) -> None:
        """Give the agent some of the answer: its head first, once there is something to give, or no more."""
        if not sink.started and (data or record.ended):
            if self.throttle is not None:
                self.throttle.granted(record.sent)
            await self._start(answer, sink)
        await sink.write(data)

    def _begins_anew(self, answer: Answer, record: CallRecord, sink: Sink) -> bool:
        """Whether an answer of 200 is a refusal all the same, and the agent has got nothing of it."""
        if sink.started or record.found.error is None:
            return False
        return self._comes_again(answer, _outcome(answer, record)[0], record)

    async def _forward_error(self, answer: Answer, reader: Reader, record: CallRecord, sink: Sink) -> bool:
        """Hear an error out before the agent does: many leave at the status, and its words tell the cause.

        All at once, too, so that no secret in it can hide between two parts.
        """
        data = self.redactor.data(await _words(answer))
        record.byte()
        data = reader.feed(data) + reader.end()
        outcome, message = _outcome(answer, record)
        if self._comes_again(answer, outcome, record):
            return False
        record.end(outcome, message)
        await self._start(answer, sink)
        await sink.write(data)
        return True

    def _comes_again(self, answer: Answer, outcome: Outcome, record: CallRecord) -> bool:
        """Whether an error is a refusal that the agent need not know of, since the call can wait."""
        throttle = self.throttle
        if throttle is None:
            return False
        after = retry_after(answer.headers, throttle.now())
        if not is_refusal(outcome, comes_again=after is not None):
            return False
        record.refusals += 1
        ahead = throttle.refused(record.sent, after)
        return record.refusals < _MOST_REFUSALS and ahead <= record.left

    async def _start(self, answer: Answer, sink: Sink) -> None:
        headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        await sink.start(answer.status, {name: self.redactor.text(value) for name, value in headers.items()})

    async def _break(self, ending: Ending, message: str, record: CallRecord, sink: Sink) -> None:
        record.end(Outcome(ending), message)
        content = error_body(self.redactor.text(message), "gateway_error", ending.name.lower())
        await _fail(_STATUS[ending], content, record, sink)


async def refuse(refused: Refused, record: CallRecord, sink: Sink) -> None:
    """Tell the agent that, and why, the proxy says no."""
    record.model_asked = refused.model_asked
    record.end(Outcome(Ending.REFUSED, refused.status, refused.code), str(refused))
    content = error_body(str(refused), "invalid_request_error", refused.code)
    await _fail(refused.status, content, record, sink)


async def _fail(status: int, content: dict[str, Any], record: CallRecord, sink: Sink) -> None:
    if sink.started:
        sink.cut()
        return
    record.status = status
    with contextlib.suppress(AgentGone):
        await sink.start(status, {"content-type": "application/json"})
        await sink.write(json.dumps(content).encode())


def _reader(request: ModelRequest, answer: Answer, record: CallRecord) -> Reader:
    kind = answer.headers.get("content-type", "")
    # Some servers stream under another name, but none calls a stream JSON or a web page.
    streams = "event-stream" in kind or (request.stream and not re.search("json|html", kind))
    if streams and answer.status < 300:
        return EventReader(record.found, hide_usage=not request.wants_usage)
    return JsonReader(record.found, answer.status)


async def _words(answer: Answer) -> bytes:
    """The body of an error, as far as it comes."""
    whole = bytearray()
    with contextlib.suppress(TimeoutError, UpstreamBroken):
        async with asyncio.timeout(_GRACE), contextlib.aclosing(answer.body) as body:
            async for data in body:
                whole += data
                if len(whole) > _MAX_ERROR:
                    break
    return bytes(whole)


def _outcome(answer: Answer, record: CallRecord) -> tuple[Outcome, str]:
    """How a call ended whose answer came to its end, and the error in words."""
    found = record.found
    cost = read_cost(answer.headers.get("x-litellm-response-cost"))
    if cost is not None and found.usage.cost is None:
        found.usage = dataclasses.replace(found.usage, cost=cost, cost_source="answer")
    found.usage = answer.price(found.usage)
    ending = Ending.ANSWERED if found.complete else Ending.CUT
    return record.error() or (Outcome(ending), "the answer broke off before its end")

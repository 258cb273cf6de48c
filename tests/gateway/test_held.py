"""Calls that a rate limit holds back: what agents get, what is recorded, here and at a deployed gateway."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import attempt, make_gateway
from pytest_goat.gateway.base import Gateway, ModelCall, TrialKey, Usage, seconds_waited
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.proxy import ProxyGateway
from tests.gateway.calls import MODEL, Agent, Reply, agent_on, request, running, trial_key
from tests.gateway.deployed import at, caller, deployed, remote, remote_agent
from tests.gateway.providers import CHUNK, KEY, Parts
from tests.support.model_server import Answer, Hang, ModelServer, Raw, Status
from tests.support.model_server import Reply as Scripted
from tests.support.trials import make_call

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5}
ANSWER = Answer("a", usage=USAGE)


def refusal(seconds: float = 0.3) -> Status:
    return Status(429, "slow down", headers={"Retry-After": str(seconds)})


def waiting_key(max_wait: float = 30.0) -> TrialKey:
    return dataclasses.replace(trial_key(), max_wait=max_wait)


@asynccontextmanager
async def agent_of(
    server: ModelServer, *, max_wait: float = 30.0, model_timeout: float = 30.0
) -> AsyncIterator[tuple[Gateway, Agent]]:
    gateway = make_gateway([MODEL], server.url, KEY, model_timeout)
    async with running(gateway), agent_on(gateway, waiting_key(max_wait)) as agent:
        yield gateway, agent


def one_call(
    replies: Sequence[Scripted], *, max_wait: float = 30.0, model_timeout: float = 30.0
) -> tuple[Reply, ModelCall]:
    async def scenario() -> tuple[Reply, ModelCall]:
        with ModelServer(replies) as server:
            async with agent_of(server, max_wait=max_wait, model_timeout=model_timeout) as (_, agent):
                return await agent.call(request()), await agent.last()

    return asyncio.run(scenario())


def test_an_agent_does_not_hear_of_refusals() -> None:
    got, call = one_call([refusal(), refusal(), ANSWER])
    assert got.status == 200
    assert (call.status, call.cause, call.message, call.finish_reason) == (200, None, "", "stop")
    assert call.usage == Usage(7, 0, 3, cost=0.5)
    assert call.refusals == 2
    assert 0.6 <= call.waited <= call.duration
    assert call.first_byte is not None
    assert call.first_byte >= call.waited


SOON = {"Retry-After": "0.1"}


def in_answer(message: str, **more: object) -> Raw:
    """A stream that begins with an error."""
    return Raw(b'data: {"error": %s}\n\ndata: [DONE]\n\n' % json.dumps({"message": message, **more}).encode())


@pytest.mark.parametrize(
    "reply",
    [
        Status(529, headers=SOON),
        Status(503, "Service Unavailable", headers=SOON),
        Status(503, "gpt-oss-120b is currently over capacity. Please try again and back off exponentially."),
        Status(503, "The service is temporarily unable to process your request. Please try again later."),
        Status(500, "litellm.InternalServerError: AnthropicError - Overloaded"),
        in_answer("That model is currently overloaded with other requests.", type="server_error", code=None),
        in_answer("System is experiencing high demand", code=503),
        in_answer("slow down", code=429),
        in_answer("Rate limit reached for requests"),
        Raw(b'{"error": {"message": "The model is overloaded."}}', "application/json"),
    ],
)
def test_an_overloaded_provider_is_waited_for_too(reply: Scripted) -> None:
    got, call = one_call([reply, ANSWER])
    assert (got.status, call.cause, call.refusals, call.finish_reason) == (200, None, 1, "stop")
    assert b"error" not in got.body


@pytest.mark.parametrize(
    ("reply", "status", "cause"),
    [
        (Status(500, "Internal server error", headers=SOON), 500, Cause.PROVIDER_ERROR),
        (Status(503, "Service Unavailable"), 503, Cause.PROVIDER_ERROR),
        (in_answer("Internal server error", code=500), 200, Cause.PROVIDER_ERROR),
        (in_answer("Request too large for the limit of tokens per minute"), 200, Cause.RATE_LIMITED),
    ],
    ids=["error", "unavailable", "error in answer", "too large"],
)
def test_other_errors_come_as_they_are(reply: Status | Raw, status: int, cause: Cause) -> None:
    got, call = one_call([reply, ANSWER])
    assert (got.status, call.status, call.cause, call.refusals) == (status, status, cause, 0)
    assert got.body == reply.body or got.message == reply.body


class Limited(Parts):
    """With a rate limit of its own."""

    def __init__(self, *parts: bytes) -> None:
        super().__init__(*parts)
        self._quota = token_hex()

    def quota(self, model: str) -> str:
        return self._quota


def test_an_answer_that_has_begun_is_not_asked_anew() -> None:
    overloaded = in_answer("Overloaded", code=529).body

    async def scenario() -> tuple[Reply, ModelCall]:
        gateway = ProxyGateway({MODEL: Limited(CHUNK, overloaded)}, 30.0)
        async with running(gateway), agent_on(gateway, waiting_key()) as agent:
            return await agent.call(request()), await agent.last()

    got, call = asyncio.run(scenario())
    assert (got.body, call.cause, call.refusals) == (CHUNK + overloaded, Cause.PROVIDER_ERROR, 0)


def test_the_model_timeout_does_not_run_while_a_call_waits() -> None:
    got, call = one_call([refusal(0.6), ANSWER], model_timeout=0.3)
    assert (got.status, call.cause) == (200, None)
    got, call = one_call([refusal(0.1), Hang()], model_timeout=0.3)
    assert (got.status, call.cause) == (504, Cause.MODEL_TIMEOUT)
    assert call.duration - call.waited < 5


@pytest.mark.parametrize(
    ("reply", "max_wait"),
    [
        (refusal(3600), 30.0),
        (refusal(5), 1.0),
        (refusal(0.1), 0.0),
        (Status(429, "Request too large for the limit of tokens per minute"), 30.0),
    ],
    ids=["later than is worth it", "later than this trial may wait", "not wanted", "too large"],
)
def test_what_is_not_waited_for_comes_as_it_is(reply: Status, max_wait: float) -> None:
    got, call = one_call([reply], max_wait=max_wait)
    assert (got.status, got.message) == (429, reply.body)
    assert got.headers.get("Retry-After") == reply.headers.get("Retry-After")
    assert (call.status, call.cause) == (429, Cause.RATE_LIMITED)


def test_an_empty_account_is_not_waited_for() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    got, call = one_call([Status(429, body)])
    assert (got.status, call.cause, call.refusals) == (429, Cause.AUTH, 0)


def test_one_call_is_not_refused_for_ever() -> None:
    got, call = one_call([refusal(0.05)] * 20)
    assert (got.status, call.cause, call.refusals) == (429, Cause.RATE_LIMITED, 8)


def test_a_call_that_never_got_its_turn_says_why() -> None:
    async def scenario() -> tuple[Reply, list[ModelCall]]:
        with ModelServer([refusal(20.0), ANSWER]) as server:
            async with agent_of(server, max_wait=1.0) as (gateway, agent):
                await agent.call(request())
                async with agent_on(gateway, waiting_key(0.3)) as other:
                    got = await other.call(request())
                    assert len(server.requests) == 1
                    return got, [await agent.last(), await other.last()]

    got, calls = asyncio.run(scenario())
    assert (got.status, got.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert [call.cause for call in calls] == [Cause.RATE_LIMITED] * 2
    assert "rate limit has held this call back" in calls[1].message
    assert calls[1].waited >= 0.3
    assert calls[1].usage == Usage()


def test_an_agent_that_leaves_while_it_waits_has_hung_up() -> None:
    async def scenario() -> None:
        with ModelServer([refusal(20.0)]) as server:
            async with agent_of(server) as (gateway, agent):
                call = asyncio.create_task(agent.call(request()))
                while not gateway.waiting():
                    await asyncio.sleep(0.01)
                (row,) = gateway.waiting()
                assert (row.model, row.calls) == (MODEL, 1)
                assert 15 < row.seconds < 23
                before = await agent.endpoint.waited()
                await asyncio.sleep(0.05)
                assert await agent.endpoint.waited() >= before + 0.05
                got = await agent.call(method="GET", path="/waited")
                assert got.json["waited"] >= before
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await call
                while gateway.waiting():
                    await asyncio.sleep(0.01)
                last = await agent.last()
                assert (last.hung_up, last.cause, last.refusals) == (True, None, 1)
                assert last.waited == pytest.approx(last.duration)

    asyncio.run(scenario())


def test_waits_side_by_side_count_once() -> None:
    calls = [
        make_call(started=1.0, waited=4.0),
        make_call(started=2.0, waited=2.0),
        make_call(started=4.0, waited=2.0),
        make_call(started=10.0, waited=1.0),
        make_call(started=0.0),
    ]
    assert seconds_waited(calls) == 6.0


def test_a_deployed_gateway_holds_calls_back_and_tells_so() -> None:
    async def scenario() -> None:
        with ModelServer([refusal(1.5), ANSWER, ANSWER]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY), containers=2) as deployment,
                remote(deployment.url) as gateway,
                remote_agent(gateway, waiting_key()) as agent,
            ):
                began = time.monotonic()
                assert await agent.endpoint.waited() == 0
                call = asyncio.create_task(agent.call(request()))
                while not (waited := await agent.endpoint.waited()):
                    await asyncio.sleep(0.01)
                assert waited <= time.monotonic() - began
                gateway.waiting()
                while not (rows := gateway.waiting()):
                    await asyncio.sleep(0.01)
                assert [(row.model, row.calls) for row in rows] == [(MODEL, 1)]
                other = at(agent.endpoint, deployment.containers[1])  # type: ignore[arg-type]
                async with caller(other.base_url.removesuffix("/v1"), other.api_key) as elsewhere:
                    got = await elsewhere.call(method="GET", path="/waited")
                    assert got.json["waited"] > 0
                assert (await call).status == 200
                await agent.call(request())

                seen = await agent.endpoint.seen()
                assert [(one.status, one.refusals) for one in seen.calls] == [(200, 1), (200, 0)]
                assert seen.usage == Usage(14, 0, 6, cost=1.0)
                assert await agent.endpoint.waited() == pytest.approx(seconds_waited(seen.calls))
                assert seen.calls[0].waited >= 1.5

    asyncio.run(scenario())


def test_a_deployed_gateway_answers_before_its_host_gives_the_request_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt, "_HELD", 0.5)

    async def scenario() -> None:
        with ModelServer([refusal(1.2), ANSWER]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url) as gateway,
                remote_agent(gateway, waiting_key()) as agent,
            ):
                got = [await agent.call(request())]
                while got[-1].status == 429:
                    got.append(await agent.call(request()))
                assert got[-1].status == 200
                assert len(server.requests) == 2
                seen = (await agent.endpoint.seen()).calls
                # The time is the rate limit's, and not the agent's.
                assert all(call.waited >= 0.5 for call in seen[:-1])
                assert {(call.status, call.cause) for call in seen[:-1]} == {(429, Cause.RATE_LIMITED)}
                assert got[0].json["error"]["code"] == "rate_limit_exceeded"

    asyncio.run(scenario())

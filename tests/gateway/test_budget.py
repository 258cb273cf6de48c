"""What a trial may spend, in front of every model."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Seen
from tests.gateway.calls import MODEL, Agent, agent_on, request, running, trial_key
from tests.gateway.providers import KEY
from tests.support.model_server import Answer, ModelServer, Reply, Status

DEAR = Answer("a", usage={"prompt_tokens": 1, "cost": 0.3})
FREE = Answer("a", usage={"prompt_tokens": 1, "cost": 0})
UNPRICED = Answer("a", usage={"prompt_tokens": 1})


@asynccontextmanager
async def agent_with(url: str, max_cost: float | None) -> AsyncIterator[Agent]:
    gateway = make_gateway([MODEL], url, KEY)
    key = dataclasses.replace(trial_key(), max_cost=max_cost)
    async with running(gateway), agent_on(gateway, key) as agent:
        yield agent


def statuses(replies: Sequence[Reply], max_cost: float | None) -> tuple[list[int], Seen, int]:
    """What the agent gets for one call after another, what was seen, and how many calls reached the model."""

    async def scenario() -> tuple[list[int], Seen, int]:
        with ModelServer(replies) as server:
            async with agent_with(server.url, max_cost) as agent:
                got = [(await agent.call(request())).status for _ in replies]
                return got, await agent.endpoint.seen(), len(server.requests)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("replies", "max_cost", "expected"),
    [
        ([DEAR] * 4, None, [200, 200, 200, 200]),
        ([DEAR] * 4, 0.5, [200, 200, 403, 403]),
        ([DEAR] * 3, 0.6, [200, 200, 403]),
        ([FREE, UNPRICED, Status(500)], 0.1, [200, 200, 500]),
        ([DEAR], 0.0, [403]),
    ],
)
def test_a_call_that_begins_beyond_the_limit_is_refused(
    replies: list[Reply], max_cost: float | None, expected: list[int]
) -> None:
    got, seen, asked = statuses(replies, max_cost)
    assert got == expected
    assert asked == len([status for status in got if status != 403])
    assert [call.cause is Cause.BUDGET for call in seen.calls] == [status == 403 for status in got]


def test_a_refusal_says_why() -> None:
    async def scenario() -> tuple[str, str]:
        with ModelServer([DEAR]) as server:
            async with agent_with(server.url, 0.25) as agent:
                await agent.call(request())
                error = (await agent.call(request())).json["error"]
                return error["code"], error["message"]

    code, message = asyncio.run(scenario())
    assert code == "trial_budget_exceeded"
    assert message == "this trial has spent the 0.25 USD that it may"

"""Tokens and money of many calls, summed."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.gateway.base import Usage
from tests.gateway.calls import agent_of, one_call, request
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Reply, Status

COSTS = st.lists(st.integers(0, 10**12).map(lambda pico: Decimal(pico).scaleb(-12)), min_size=1, max_size=50)


def as_charged(cost: Decimal) -> float:
    """A cost as LiteLLM figures it: a float that went through a few operations."""
    return float(cost) / 3 * 3


@given(COSTS, st.randoms(use_true_random=False))
def test_a_sum_of_costs_is_the_exact_one_in_any_order(costs: list[Decimal], order: random.Random) -> None:
    usages = [Usage(cost=as_charged(cost)) for cost in costs]
    order.shuffle(usages)
    total = reduce(add, usages, Usage()).cost
    assert total is not None
    assert Decimal(repr(total)) == sum(costs)


def test_what_is_unknown_stays_so_in_a_sum() -> None:
    known, unknown = Usage(cost=0.5), Usage(unpriced=1)
    assert known + unknown + unknown == Usage(cost=0.5, unpriced=2)
    assert unknown + unknown == Usage(unpriced=2)


PRICED = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25}


@pytest.mark.parametrize(
    ("reply", "usage"),
    [
        (Answer("a", usage=PRICED), Usage(10, 0, 5, cost=0.25)),
        (Answer("a", usage={**PRICED, "cost": 0}), Usage(10, 0, 5, cost=0.0)),
        (Answer("a"), Usage(10, 0, 5, unpriced=1)),
        (Answer("a", usage=None), Usage(unpriced=1)),
        (Answer("word " * 9, pieces=9, cut_after=3), Usage(unpriced=1)),
        (Hang(), Usage(unpriced=1)),
        (Status(429), Usage()),
        (Status(500), Usage()),
        (Drop(), Usage()),
    ],
)
def test_a_call_whose_cost_got_lost_is_counted(reply: Reply, usage: Usage) -> None:
    _, call = asyncio.run(one_call(reply, model_timeout=0.5))
    assert call.usage == usage


def test_what_is_refused_costs_nothing() -> None:
    _, call = asyncio.run(one_call(Answer("a"), request(model="another")))
    assert (call.status, call.usage) == (404, Usage())


def test_an_agent_that_leaves_before_the_end_leaves_an_unknown_cost() -> None:
    async def scenario() -> Usage:
        with ModelServer([Answer("word " * 9, pieces=9, hang_after=3)]) as server:
            async with agent_of(server.url) as agent:
                async with agent.open(request()) as response:
                    await response.content.readany()
                    assert (await agent.endpoint.seen()).usage == Usage(unpriced=1)
                return (await agent.endpoint.seen()).usage

    assert asyncio.run(scenario()) == Usage(unpriced=1)

"""Providers that have no room, through the real LiteLLM: a call waits, and its agent hears nothing of it."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall
from pytest_goat.gateway.proxy import ProxyGateway
from tests.gateway.calls import Agent, agent_on, request, running, trial_key
from tests.litellm.chain import Reply
from tests.support.litellm import Stack, litellm_stack
from tests.support.model_server import Answer, Status
from tests.support.providers.forms import Overloaded
from tests.support.providers.rules import Asked, anthropic_error

DONE = Answer("Done.")
FIVE = ("gpt-5-mini", "gpt-oss-120b", "llama-3.1-8b-local", "openai-gpt-4o-mini", "claude-haiku-4-5")
"""One of each provider."""
WAIT = 1.6
"""Seconds: more than the pause after a refusal that says nothing."""


def error(status: int, message: str, kind: str, **headers: str) -> Status:
    return Status(status, {"error": {"message": message, "type": kind, "param": None, "code": None}}, headers)


BUSY: Mapping[str, Status] = {
    "gpt-5-mini": error(
        503, "The service is temporarily unable to process your request.", "ServiceUnavailable"
    ),
    "gpt-oss-120b": error(
        503, "openai/gpt-oss-120b is currently over capacity. Please try again.", "internal_server_error"
    ),
    "llama-3.1-8b-local": error(503, "Service Unavailable", "", **{"Retry-After": "1"}),
    "openai-gpt-4o-mini": error(503, "The engine is currently overloaded", "service_unavailable_error"),
    "claude-haiku-4-5": anthropic_error(529, "overloaded_error", "Overloaded"),
}
"""How each says so in place of an answer. https://docs.anthropic.com/en/api/errors,
https://platform.openai.com/docs/guides/error-codes, https://console.groq.com/docs/errors
"""


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with litellm_stack(tmp_path_factory.mktemp("litellm")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def no_pace_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What other tests have found out about a provider's limit is not there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@asynccontextmanager
async def waiting_agent(litellm: Stack, name: str) -> AsyncIterator[Agent]:
    """An agent whose calls may be held back."""
    gateway = ProxyGateway({name: litellm.upstream(name)}, 30.0)
    key = dataclasses.replace(trial_key(name), max_wait=30.0)
    async with running(gateway), agent_on(gateway, key) as agent:
        yield agent


def first_then_done(first: Callable[[str], Reply]) -> Callable[[Asked], Reply]:
    """A script: `first` of the provider for its first call, then an answer."""
    asked: Counter[str] = Counter()

    def reply(call: Asked) -> Reply:
        asked[call.provider] += 1
        return first(call.provider) if asked[call.provider] == 1 else DONE

    return reply


def calls(litellm: Stack, first: Callable[[str], Reply], *, stream: bool) -> dict[str, ModelCall]:
    """One call of each provider at once, the first answer to which is `first` of the model's name."""
    models = {litellm.model(name).provider: name for name in FIVE}
    litellm.providers.reset(first_then_done(lambda provider: first(models[provider])))

    async def one(name: str) -> ModelCall:
        async with waiting_agent(litellm, name) as agent:
            got = await agent.call(request(stream=stream) | {"model": name})
            assert b"error" not in got.body
            return await agent.last()

    async def scenario() -> dict[str, ModelCall]:
        return dict(zip(FIVE, await asyncio.gather(*map(one, FIVE)), strict=True))

    return asyncio.run(scenario())


def assert_asked_twice(litellm: Stack, seen: Mapping[str, ModelCall]) -> None:
    told = {name: (call.status, call.cause, call.refusals) for name, call in seen.items()}
    assert told == dict.fromkeys(FIVE, (200, None, 1))
    assert len(litellm.providers.calls) == 2 * len(FIVE)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_busy_provider_is_waited_for(litellm: Stack, stream: bool) -> None:
    assert_asked_twice(litellm, calls(litellm, BUSY.__getitem__, stream=stream))


def test_a_stream_that_begins_with_the_error_is_asked_anew(litellm: Stack) -> None:
    assert_asked_twice(litellm, calls(litellm, lambda _: Overloaded("word", after=0), stream=True))


def test_anthropic_may_say_so_after_the_head_of_its_answer(litellm: Stack) -> None:
    """LiteLLM passes nothing of an answer, its status neither, before there is some text or a tool call."""
    litellm.providers.reset([Overloaded("word", after=3), DONE])

    async def scenario() -> None:
        async with waiting_agent(litellm, "claude-haiku-4-5") as agent:
            assert (await agent.call(request() | {"model": "claude-haiku-4-5"})).status == 200
            assert (await agent.last()).refusals == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("name", FIVE)
def test_an_answer_of_which_the_agent_has_something_ends_in_the_error(litellm: Stack, name: str) -> None:
    came = threading.Event()
    litellm.providers.reset([Overloaded("word " * 9, pieces=9, after=6, until=lambda: came.wait(30)), DONE])

    async def scenario() -> None:
        async with waiting_agent(litellm, name) as agent:
            async with agent.open(request() | {"model": name}) as got:
                body = await got.content.readany()
                came.set()
                body += await got.content.read()
            seen = await agent.last()
        assert got.status == 200
        assert b"verloaded" in body
        assert b"Traceback" not in body
        assert (seen.cause, seen.refusals) == (Cause.PROVIDER_ERROR, 0)

    asyncio.run(scenario())
    assert len(litellm.providers.calls) == 1


@pytest.mark.parametrize("status", [429, 529])
@pytest.mark.parametrize(
    "said", [{"Retry-After": f"{WAIT}"}, {"Retry-After": "60", "retry-after-ms": f"{1000 * WAIT:.0f}"}]
)
def test_when_to_try_again_comes_through(litellm: Stack, status: int, said: Mapping[str, str]) -> None:
    """LiteLLM passes it as `llm_provider-retry-after`; Azure and OpenAI send the finer one beside it."""
    refusal = error(status, "Overloaded", "overloaded_error", **said)
    seen = calls(litellm, lambda _: refusal, stream=True)
    assert_asked_twice(litellm, seen)
    assert all(WAIT <= call.waited < 60 for call in seen.values())

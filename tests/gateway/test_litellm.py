"""From an agent through our proxy and the real LiteLLM to a provider, at the wire."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.gateway.litellm import LiteLLMUpstream, Running
from pytest_goat.gateway.proxy import ProxyGateway
from pytest_goat.models import load_models
from tests.gateway.calls import Reply, agent_on, running, trial_key
from tests.gateway.calls import request as chat
from tests.support.litellm import Stack
from tests.support.model_server import Answer, Drop, ModelServer, Status, ToolCall
from tests.support.providers import KEYS, Call
from tests.support.providers.server import Script
from tests.support.waiting import until

TODAY = date(2026, 11, 24)
TOOL = {
    "type": "function",
    "function": {
        "name": "Bash",
        "description": "Runs a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
}
LS = Answer(
    "Let me look.", tools=[ToolCall("Bash", {"command": "ls -l"}), ToolCall("Bash", {"command": "pwd"})]
)


@dataclass(frozen=True)
class Wire:
    """What a provider must get for a call as the agent makes it."""

    path: str
    model: str | None
    """In the body; None: anything, as the path says it."""
    room: str = "max_tokens"
    """The key that says how long the answer may be."""
    temperature: float | None = 0.3
    """None: left out."""


AZURE = "/azure/openai/deployments/{}/chat/completions?api-version=2025-04-01-preview"
WIRES = {
    "gpt-5-nano": Wire(AZURE.format("gpt-5-nano"), None, "max_completion_tokens", None),
    "gpt-5-mini": Wire(AZURE.format("gpt-5-mini"), None, "max_completion_tokens", None),
    "gpt-4o-mini": Wire(AZURE.format("gpt-4o-mini"), None),
    "llama-3.3-70b": Wire("/groq/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
    "gpt-oss-120b": Wire("/groq/openai/v1/chat/completions", "openai/gpt-oss-120b"),
    "llama-3.1-8b-local": Wire("/vllm/v1/chat/completions", "meta-llama/Llama-3.1-8B-Instruct"),
    "openai-gpt-5-mini": Wire("/openai/v1/chat/completions", "gpt-5-mini", "max_completion_tokens", None),
    "openai-gpt-4o-mini": Wire("/openai/v1/chat/completions", "gpt-4o-mini"),
    "claude-haiku-4-5": Wire("/anthropic/v1/messages", "claude-haiku-4-5"),
    "claude-sonnet-5": Wire("/anthropic/v1/messages", "claude-sonnet-5", temperature=None),
}
FIVE = ("gpt-5-mini", "gpt-oss-120b", "llama-3.1-8b-local", "openai-gpt-4o-mini", "claude-haiku-4-5")
"""One of each provider."""
OPENAI_SHAPED = FIVE[:4]
"""Those that may keep back what Anthropic always tells."""


def ask(model: str, *, stream: bool = True, turn: int = 1) -> dict[str, Any]:
    """A call as the first goat-eval makes it."""
    settings = {"max_tokens": 16384, "temperature": 0.3, "tool_choice": "auto", "tools": [TOOL]}
    return chat(stream=stream, turn=turn) | settings | {"model": model}


def call(litellm: Stack, model: str, script: Script, *, stream: bool = True) -> tuple[Reply, ModelCall]:
    litellm.providers.reset(script)

    async def scenario() -> tuple[Reply, ModelCall]:
        async with litellm.agent(model) as agent:
            return await agent.call(ask(model, stream=stream)), await agent.last()

    return asyncio.run(scenario())


def charged(calls: Sequence[Call]) -> Usage:
    """What the providers counted."""
    tokens = [call.tokens for call in calls if call.tokens is not None]
    return Usage(
        sum(count.prompt for count in tokens),
        sum(count.cached for count in tokens),
        sum(count.completion for count in tokens),
        sum(count.reasoning for count in tokens),
    )


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", list(WIRES))
def test_a_model_is_called_in_its_providers_own_form(litellm: Stack, name: str, stream: bool) -> None:
    reply, seen = call(litellm, name, [LS], stream=stream)
    (got,) = litellm.providers.calls
    wire = WIRES[name]
    assert litellm.providers.refused == []
    assert got.path == wire.path
    assert wire.model in (None, got.json["model"])
    assert got.json[wire.room] == 16384
    assert {"max_tokens", "max_completion_tokens"} & got.json.keys() == {wire.room}
    assert got.json.get("temperature") == wire.temperature
    assert bool(got.json.get("stream")) is stream
    assert (reply.status, seen.cause, seen.finish_reason, seen.tool_calls) == (200, None, "tool_calls", 2)
    assert commands(reply, stream) == ["ls -l", "pwd"]
    row = litellm.model(name)
    cost = row.cost(seen.usage)
    assert dataclasses.replace(seen.usage, cost=None, unpriced=0) == charged([got])
    assert seen.usage.cost == (None if cost is None else pytest.approx(cost))
    assert seen.usage.cost_source == ("" if cost is None else "answer")
    assert seen.usage.unpriced == (cost is None)


def commands(reply: Reply, stream: bool) -> list[str]:
    """What the agent is asked to run, put together as an agent does it."""
    if not stream:
        calls = reply.json["choices"][0]["message"]["tool_calls"]
        return [json.loads(call["function"]["arguments"])["command"] for call in calls]
    arguments: dict[int, str] = {}
    for chunk in reply.chunks:
        for choice in chunk["choices"]:
            for piece in choice["delta"].get("tool_calls") or ():
                index, text = piece["index"], piece["function"].get("arguments") or ""
                arguments[index] = arguments.get(index, "") + text
    return [json.loads(arguments[index])["command"] for index in sorted(arguments)]


def test_tokens_and_cost_of_many_calls_at_once_add_up(litellm: Stack) -> None:
    litellm.providers.reset(lambda asked: LS)

    async def calls_of(name: str) -> Usage:
        async with litellm.agent(name) as agent:
            await asyncio.gather(
                *(agent.call(ask(name, stream=turn % 2 == 0, turn=turn)) for turn in range(1, 5))
            )
            return (await agent.endpoint.seen()).usage

    async def scenario() -> list[Usage]:
        return await asyncio.gather(*map(calls_of, FIVE))

    usages = asyncio.run(scenario())
    for name, usage in zip(FIVE, usages, strict=True):
        row = litellm.model(name)
        counted = charged([call for call in litellm.providers.calls if call.provider == row.provider])
        cost = row.cost(counted)
        assert usage.prompt_tokens == counted.prompt_tokens
        assert usage.cached_tokens == counted.cached_tokens
        assert usage.completion_tokens == counted.completion_tokens
        assert usage.cost == (None if cost is None else pytest.approx(cost))


ERRORS = [
    (Status(400), 400, Cause.BAD_REQUEST),
    (Status(401), 401, Cause.AUTH),
    (Status(403), 403, Cause.AUTH),
    (Status(404), 404, Cause.MODEL_NOT_FOUND),
    (Status(429), 429, Cause.RATE_LIMITED),
    (Status(500), 500, Cause.PROVIDER_ERROR),
    (Status(503), 503, Cause.PROVIDER_ERROR),
    (Drop(), 500, Cause.UNREACHABLE),
]


@pytest.mark.parametrize(
    ("reply", "status", "cause"), ERRORS, ids=[str(row[1]) for row in ERRORS[:-1]] + ["drop"]
)
@pytest.mark.parametrize("name", FIVE)
def test_an_error_keeps_its_status_and_is_not_tried_again(
    litellm: Stack, name: str, reply: Status | Drop, status: int, cause: Cause
) -> None:
    got, seen = call(litellm, name, [reply, LS])
    assert (got.status, seen.status, seen.cause) == (status, status, cause)
    assert len(litellm.providers.calls) == 1
    assert (seen.usage.cost, seen.usage.unpriced) == (None, 0)
    assert "LiteLLM: model group" not in seen.message


@pytest.mark.parametrize("name", FIVE)
def test_an_overloaded_provider_is_an_error_of_its_own(litellm: Stack, name: str) -> None:
    got, seen = call(litellm, name, [Status(529)])
    # LiteLLM makes a 500 of Anthropic's.
    assert got.status == (500 if name.startswith("claude") else 529)
    assert seen.cause is Cause.PROVIDER_ERROR


@pytest.mark.parametrize("name", FIVE)
def test_the_agent_learns_when_to_try_again(litellm: Stack, name: str) -> None:
    got, _ = call(litellm, name, [Status(429, headers={"Retry-After": "7"})])
    assert got.headers["retry-after"] == "7"


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize(("chunks", "status"), [(0, 500), (25, 200)])
def test_a_stream_that_breaks_off_is_no_answer(litellm: Stack, name: str, chunks: int, status: int) -> None:
    answer = Answer("word " * 40, pieces=40, cut_after=chunks, delay=0.01)
    got, seen = call(litellm, name, [answer])
    # Before the first chunk, LiteLLM has not said yet that all is well.
    assert (got.status, seen.status) == (status, status)
    assert seen.cause is Cause.STREAM_CUT
    assert (seen.usage.cost, seen.usage.unpriced) == (None, 1)
    assert "payload is not completed" in seen.message
    assert b"Traceback" not in got.body
    assert b"site-packages" not in got.body
    assert len(litellm.providers.calls) == 1


@pytest.mark.parametrize("name", FIVE)
def test_a_stream_that_just_stops_is_no_answer_either(litellm: Stack, name: str) -> None:
    answer = Answer("word " * 40, tools=LS.tools, pieces=40, finish=None, done=False, usage=None)
    got, seen = call(litellm, name, [answer])
    assert (got.status, seen.cause, seen.finish_reason) == (200, Cause.STREAM_CUT, "")
    assert seen.usage == Usage(unpriced=1)
    assert b'"finish_reason"' not in got.body
    assert b"[DONE]" not in got.body


@pytest.mark.parametrize("name", OPENAI_SHAPED)
def test_a_stream_with_a_finish_reason_needs_no_last_line(litellm: Stack, name: str) -> None:
    _, seen = call(litellm, name, [dataclasses.replace(LS, done=False)])
    assert (seen.cause, seen.finish_reason, seen.tool_calls) == (None, "tool_calls", 2)
    assert dataclasses.replace(seen.usage, cost=None, unpriced=0) == charged(litellm.providers.calls)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", OPENAI_SHAPED)
def test_tokens_of_which_nobody_told_are_not_counted(litellm: Stack, name: str, stream: bool) -> None:
    _, seen = call(litellm, name, [dataclasses.replace(LS, usage=None)], stream=stream)
    assert (seen.cause, seen.finish_reason) == (None, "tool_calls")
    assert seen.usage == Usage(unpriced=1)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_reasoning_of_which_nobody_told_is_not_counted(litellm: Stack, stream: bool) -> None:
    thought = dataclasses.replace(LS, reasoning="Let me think of it for a while.")
    got, seen = call(litellm, "llama-3.1-8b-local", [thought], stream=stream)
    assert b"Let me think" in got.body
    assert dataclasses.replace(seen.usage, unpriced=0) == charged(litellm.providers.calls)


def test_a_gpu_that_sleeps_is_not_woken_by_the_start(litellm: Stack) -> None:
    assert litellm.providers.gets == []


def preflight(litellm: Stack, name: str, script: Script) -> str:
    """What it says; "" when all is well."""
    litellm.providers.reset(script)

    async def scenario() -> None:
        gateway = ProxyGateway({name: litellm.upstream(name)}, 30.0)
        async with running(gateway):
            await gateway.preflight(name, [trial_key(name)])

    try:
        asyncio.run(scenario())
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FIVE)
def test_a_preflight_is_one_small_call(litellm: Stack, name: str) -> None:
    assert preflight(litellm, name, [LS]) == ""
    (got,) = litellm.providers.calls
    assert 64 in (got.json.get("max_tokens"), got.json.get("max_completion_tokens"))


def test_a_preflight_of_a_limited_account_passes(litellm: Stack) -> None:
    assert preflight(litellm, "gpt-5-mini", [Status(429)]) == ""


@pytest.mark.parametrize(
    ("reply", "mend"),
    [
        (Status(401), "It refuses the key: set AZURE_API_KEY to one that is good there."),
        (
            Status(404),
            "Is gpt-5-mini its name there? Another one goes into a file of your own: --goat-models",
        ),
        (Status(500), "Is the address right, AZURE_API_BASE=http://127.0.0.1:"),
        (Status(400, "tools are not supported"), "An agent needs tool calling"),
        (Status(400), "An agent's requests would end the same way."),
    ],
)
def test_a_preflight_says_what_is_wrong_and_what_to_do(litellm: Stack, reply: Status, mend: str) -> None:
    message = preflight(litellm, "gpt-5-mini", [reply])
    assert message.startswith(f"Model 'gpt-5-mini' of azure: HTTP {reply.code}: ")
    assert mend in message
    assert "model group" not in message
    assert not any(key in message for key in KEYS.values())


def test_nothing_of_a_key_is_on_its_command_line_or_in_its_files(litellm: Stack) -> None:
    call(litellm, "gpt-5-mini", [Status(401, f"Incorrect API key provided: {KEYS['azure']}")])
    secrets = [*KEYS.values(), litellm.process.key]
    assert set(litellm.process.secrets) == set(secrets)
    argv = Path(f"/proc/{litellm.process.pid}/cmdline").read_text()
    told = "Incorrect API key provided: [redacted]"
    until("it is in the log", lambda: told in litellm.process.log.read_text("utf-8", "replace"))
    files = "".join(
        path.read_text("utf-8", "replace") for path in litellm.process.log.parent.glob("litellm.*")
    )
    assert "model_list" in files
    assert not any(secret in argv + files for secret in secrets)


def test_a_key_in_an_error_does_not_reach_the_agent(litellm: Stack) -> None:
    got, seen = call(litellm, "gpt-oss-120b", [Status(401, f"Invalid API Key {KEYS['groq']}")])
    assert KEYS["groq"].encode() not in got.body
    assert KEYS["groq"] not in seen.message


def test_it_has_no_variable_that_it_does_not_need(litellm: Stack) -> None:
    entries = Path(f"/proc/{litellm.process.pid}/environ").read_text().split("\0")
    names = {entry.partition("=")[0] for entry in entries if entry}
    own = {
        "HOME",
        "CONFIG_FILE_PATH",
        "LITELLM_MASTER_KEY",
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "PYTHONUNBUFFERED",
    }
    wanted = {name for model in litellm.models for name in model.env.values()}
    assert wanted | own <= names
    assert not {
        name for name in names - wanted - own if name.startswith(("PYTEST", "GOAT", "MODAL", "LITELLM"))
    }


def unstarted(*names: str, environ: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        LiteLLMUpstream(load_models(), names, Running("http://127.0.0.1:1/v1", "sk-x"), environ, TODAY)
    return str(caught.value)


def test_what_cannot_be_called_is_told_before_anything_starts() -> None:
    message = unstarted("gpt-5-mini", "llama-3.3-70b", environ={"AZURE_API_KEY": "x"})
    assert "Model 'gpt-5-mini' needs AZURE_API_BASE: export AZURE_API_BASE=..." in message
    assert "Model 'llama-3.3-70b' retired 2026-08-16: use gpt-oss-120b." in message
    assert "no model 'gpt-6'" in unstarted("gpt-6", environ={})


def free_of_cost(name: str, said: dict[str, Any]) -> Usage:
    """What is recorded when LiteLLM's usage is `said`."""

    async def scenario(url: str) -> Usage:
        environ = {"GROQ_API_KEY": "x", "VLLM_API_KEY": "x", "VLLM_LLAMA_3_1_8B_URL": "http://127.0.0.1:1"}
        upstream = LiteLLMUpstream(load_models(), [name], Running(url, "sk-x"), environ, TODAY)
        gateway = ProxyGateway({name: upstream}, 30.0)
        async with running(gateway), agent_on(gateway, trial_key(name)) as agent:
            await agent.call(ask(name))
            return (await agent.last()).usage

    with ModelServer(
        [Answer("x", usage={"prompt_tokens": 1000, "completion_tokens": 200, **said})]
    ) as server:
        return asyncio.run(scenario(server.url))


@pytest.mark.parametrize("said", [{}, {"cost": 0}])
def test_the_table_says_the_cost_where_litellm_says_none(said: dict[str, Any]) -> None:
    usage = free_of_cost("gpt-oss-120b", said)
    assert usage.cost == pytest.approx((1000 * 0.15 + 200 * 0.6) / 1e6)
    assert usage.cost_source == "table"
    usage = free_of_cost("llama-3.1-8b-local", said)
    assert (usage.cost, usage.cost_source) == (None, "")


def test_who_said_the_cost_survives_a_sum() -> None:
    answer, table = Usage(cost=1.0, cost_source="answer"), Usage(cost=2.0, cost_source="table")
    assert (answer + table).cost_source == "answer+table"
    assert (answer + table + Usage()).cost_source == "answer+table"
    assert (answer + answer).cost_source == "answer"
    assert Usage().cost_source == (Usage() + Usage()).cost_source == ""


def test_a_running_litellm_does_not_show_its_key() -> None:
    assert "sk-x" not in repr(Running("http://127.0.0.1:1/v1", "sk-x"))

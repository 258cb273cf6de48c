"""The provider's key reaches the provider, and nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.calls import (
    agent_of,
    parts_call,
    request,
)
from tests.gateway.providers import KEY, Parts
from tests.support.model_server import Answer, ModelServer, Raw, Status
from tests.support.model_server import Reply as Scripted

ECHOES: dict[str, Scripted] = {
    "error": Status(401, f"Incorrect API key provided: {KEY}", {"x-request-id": KEY, "Set-Cookie": KEY}),
    "text": Status(500, f"<pre>{KEY}</pre>"),
    "stream": Raw(b'data: {"error": {"message": "%s"}}\n\n' % KEY.encode()),
    "names": Answer(KEY, model=KEY, finish=KEY),
}


@pytest.mark.parametrize("reply", ECHOES.values(), ids=ECHOES.keys())
def test_the_key_reaches_the_provider_alone(reply: Scripted) -> None:
    async def scenario() -> None:
        with ModelServer([reply]) as server:
            async with agent_of(server.url) as agent:
                agent.headers = {"Cookie": "a=b", "X-Secret": "mine", "langfuse_trace_id": "t"}
                got, call = await agent.call(request()), await agent.last()
                sent = server.requests[0].headers
                assert sent["authorization"] == f"Bearer {KEY}"
                assert not {"cookie", "x-secret", "langfuse_trace_id"} & set(sent)
                assert KEY not in repr(call)
                assert KEY not in repr(got)
                assert KEY not in agent.endpoint.api_key + agent.endpoint.base_url

    asyncio.run(scenario())


def test_a_key_in_an_error_that_comes_in_two_parts_is_found() -> None:
    body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
    middle = body.index(KEY.encode()) + 5
    got, _ = parts_call(Parts(body[:middle], body[middle:], status=401))
    assert got.message == "bad key [redacted]"


@pytest.mark.parametrize(
    "said",
    [
        {"model": KEY, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": KEY}]},
        {"error": {"message": KEY}},
    ],
)
def test_a_key_in_two_parts_of_a_stream_is_in_no_record(said: dict[str, Any]) -> None:
    body = b"data: %s\n\n" % json.dumps(said).encode()
    middle = body.index(KEY.encode()) + 5
    _, call = parts_call(Parts(body[:middle], body[middle:]))
    assert "[redacted]" in repr(call)
    assert KEY not in repr(call)

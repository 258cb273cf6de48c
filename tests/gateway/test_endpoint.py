"""A trial's endpoint: what it serves, to whom, how much of it, and until when."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import aiohttp
import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import make_gateway, serving
from pytest_goat.gateway.proxy import ProxyGateway
from pytest_goat.gateway.request import MAX_BODY
from tests.gateway.calls import (
    MODEL,
    Agent,
    Reply,
    agent_of,
    agent_on,
    listen,
    request,
    running,
    trial_key,
)
from tests.gateway.providers import END, KEY, Parts
from tests.support.model_server import Answer, Hang, ModelServer


@pytest.mark.parametrize(
    "path", ["/chat/completions", "//chat/completions", "/../../i/a/v1/chat/completions"]
)
def test_paths_that_are_served(path: str) -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")]) as server:
            async with agent_of(server.url) as agent:
                assert (await agent.call(request(), path=path)).status == 200

    asyncio.run(scenario())


def test_the_models_are_the_trials_own() -> None:
    async def scenario() -> Reply:
        with ModelServer(models=["other"]) as server:
            async with agent_of(server.url) as agent:
                reply = await agent.call(method="GET", path="/models")
                assert (await agent.endpoint.seen()).calls == ()
                return reply

    reply = asyncio.run(scenario())
    assert (reply.status, [model["id"] for model in reply.json["data"]]) == (200, [MODEL])


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/responses"), ("GET", "/chat/completions"), ("DELETE", "/models"), ("GET", "/x")],
)
def test_nothing_else_is_served(method: str, path: str) -> None:
    async def scenario() -> None:
        with ModelServer() as server:
            async with agent_of(server.url) as agent:
                reply = await agent.call(request(), method=method, path=path)
                assert reply.status == 404
                assert "serves POST /v1/chat/completions" in reply.message
                assert f"{method} /v1{path}" in reply.message
                calls = (await agent.endpoint.seen()).calls
                assert [call.cause for call in calls] == [Cause.FORBIDDEN] * (method == "POST")
                assert server.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b" " * (33 * 2**20), 413), (request(model="dear"), 404)],
    ids=["no JSON", "too large", "another model"],
)
def test_what_a_trial_may_not_ask_never_reaches_the_provider(body: Any, status: int) -> None:
    async def scenario() -> None:
        with ModelServer() as server:
            async with agent_of(server.url) as agent:
                reply, call = await agent.call(body), await agent.last()
                assert (reply.status, call.status, call.cause) == (status, status, Cause.FORBIDDEN)
                assert reply.message == call.message
                assert server.requests == []

    asyncio.run(scenario())


def test_without_a_private_socket_the_trials_own_token_is_wanted() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")]) as server:
            gateway = make_gateway([MODEL], server.url, KEY)
            key = trial_key()
            async with (
                running(gateway),
                agent_on(gateway, key, private=False) as one,
                agent_on(gateway, key, private=False) as two,
            ):
                assert one.endpoint.api_key != two.endpoint.api_key
                assert len(one.endpoint.api_key) > 30
                for wrong in ("", "Bearer", "Bearer goat", f"Bearer {two.endpoint.api_key}", f"Bearer {KEY}",
                              f"Basic {one.endpoint.api_key}", "Bearer \xff"):  # fmt: skip
                    one.headers = {"Authorization": wrong}
                    for reply in (await one.call(request()), await one.call(method="GET", path="/models")):
                        assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
                    assert (await one.last()).cause is Cause.FORBIDDEN
                assert server.requests == []
                one.headers = {}
                assert (await one.call(request())).status == 200

    asyncio.run(scenario())


def test_on_a_private_socket_no_key_is_needed() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")]) as server:
            async with agent_of(server.url, private=True) as agent:
                assert agent.endpoint.api_key == "goat"
                agent.headers = {"Authorization": ""}
                assert (await agent.call(request())).status == 200

    asyncio.run(scenario())


def test_a_trial_has_a_bounded_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_CALLS", 2)

    async def scenario() -> None:
        gateway = ProxyGateway({MODEL: Parts(END)}, 30.0)
        async with running(gateway), agent_on(gateway, trial_key()) as agent:
            replies = [await agent.call(request()) for _ in range(4)]
            assert [reply.status for reply in replies] == [200, 200, 403, 403]
            assert replies[-1].message == "more than 2 calls in one trial"
            assert len((await agent.endpoint.seen()).calls) == 2

    asyncio.run(scenario())


def test_no_more_is_read_of_a_body_than_is_allowed() -> None:
    async def scenario() -> None:
        async with agent_of("http://127.0.0.1:1/v1") as agent:
            reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
            )
            writer.write(b" " * (MAX_BODY + 100_000))
            assert b" 413 " in await asyncio.wait_for(reader.readline(), 30)
            writer.transport.abort()

    asyncio.run(scenario())


def test_an_endpoint_that_is_closed_answers_nothing() -> None:
    async def scenario() -> None:
        with ModelServer([Hang()]) as server:
            async with agent_of(server.url) as agent:
                hanging = asyncio.create_task(agent.call(request()))
                await asyncio.to_thread(server.wait_for, 1)
                await agent.endpoint.close()
                await agent.endpoint.close()
                with pytest.raises(aiohttp.ClientError):
                    await hanging
                with pytest.raises(aiohttp.ClientConnectionError):
                    await agent.call(request())
                seen = await agent.endpoint.seen()
                assert [call.hung_up for call in seen.calls] == [True]

    asyncio.run(scenario())


def test_a_socket_that_comes_after_the_end_is_closed() -> None:
    async def scenario() -> None:
        gateway = make_gateway([MODEL], "http://127.0.0.1:1/v1")
        async with running(gateway):
            endpoint = gateway.open(trial_key())
            assert endpoint.base_url == ""
            listener = listen()
            attaching = threading.Thread(target=endpoint.attach, args=(listener, True))
            attaching.start()
            attaching.join()
            assert endpoint.base_url == f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            await endpoint.close()
            assert listener.fileno() == -1

    asyncio.run(scenario())


def test_stop_closes_every_endpoint() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")] * 3) as server, listen() as free:
            gateway = make_gateway([MODEL], server.url)
            await gateway.start()
            listeners = [listen() for _ in range(3)]
            async with aiohttp.ClientSession() as session:
                for listener in listeners:
                    endpoint = gateway.open(trial_key())
                    endpoint.attach(listener, True)
                    await Agent(endpoint, session).call(request())
                await gateway.stop()
            assert [listener.fileno() for listener in listeners] == [-1] * 3
            assert free.fileno() != -1

    asyncio.run(scenario())


def test_one_trial_cannot_take_all_connections() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")]) as server:
            async with agent_of(server.url) as agent:
                held = [await asyncio.open_connection("127.0.0.1", agent.port) for _ in range(64)]
                reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
                assert await asyncio.wait_for(reader.read(), 10) == b""
                for _, other in [(reader, writer), *held]:
                    other.close()
                    await other.wait_closed()

    asyncio.run(scenario())

"""The host's side of a deployed gateway: what it gives a trial, what it reads back, how it fails."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest

from pytest_goat.errors import Cause, GatewayError, UserError
from pytest_goat.gateway import ask, client
from pytest_goat.gateway.base import Seen, Usage
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.remote import RemoteGateway
from pytest_goat.gateway.token import verify
from tests.gateway.calls import MODEL, Agent, listen, request, running, trial_key
from tests.gateway.deployed import (
    RUN,
    SECRET,
    Deployment,
    LosableShelf,
    at,
    deployed,
    remote,
    remote_agent,
    write_recording,
)
from tests.gateway.providers import END, KEY, Parts
from tests.support.model_server import Answer, Hang, ModelServer, Status
from tests.support.ports import closed_port

key = trial_key()
replay_key = trial_key("replay")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(client, "PAUSES", (0.0, 0.0))


def test_an_agent_works_through_it_and_is_seen() -> None:
    async def scenario() -> tuple[Seen, Seen]:
        with ModelServer([Status(429), Answer("a", usage={"prompt_tokens": 7, "cost": 0.5})]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url) as gateway,
                remote_agent(gateway, key) as agent,
            ):
                before = await agent.endpoint.seen()
                for _ in range(2):
                    await agent.call(request())
                return before, await agent.endpoint.seen()

    before, seen = asyncio.run(scenario())
    assert before == Seen()
    assert [(call.status, call.cause) for call in seen.calls] == [(429, Cause.RATE_LIMITED), (200, None)]
    assert (seen.usage, seen.turns, seen.retries) == (Usage(7, cost=0.5), 1, 1)
    assert all(0 <= call.started < 10 for call in seen.calls)
    assert seen.calls[0].message.startswith("HTTP 429: ")


def test_what_an_endpoint_gives_its_trial() -> None:
    gateway = RemoteGateway("https://x--goat-services-gateway.modal.run/", RUN, SECRET, [MODEL], 40.0)
    assert gateway.hosts == ("x--goat-services-gateway.modal.run",)
    assert gateway.name == "modal"
    endpoints = [gateway.open(key, limit) for limit in (None, 20.0, 90.0)]
    for endpoint, limit in zip(endpoints, (40.0, 20.0, 40.0), strict=True):
        with listen() as listener:
            endpoint.attach(listener, False)
        assert endpoint.base_url == "https://x--goat-services-gateway.modal.run/v1"
        endpoint.set_workdir("/job")
        claims = verify(endpoint.api_key, SECRET, time.time())
        assert endpoint.api_key == endpoint.api_key
        assert (claims.run, claims.trial, claims.model) == (RUN, key.trial_id, MODEL)
        assert (claims.workdir, claims.model_timeout) == ("/job", limit)
        assert 3500 < claims.expires - time.time() <= 3600
    assert len({endpoint.api_key for endpoint in endpoints}) == 3
    with pytest.raises(UserError, match="no model 'other', only: test-model"):
        gateway.open(trial_key("other"))


def test_a_closed_endpoint_serves_nobody_and_still_tells() -> None:
    async def scenario() -> None:
        async with (
            deployed(lambda: Parts(END)) as deployment,
            remote(deployment.url) as gateway,
            remote_agent(gateway, key) as agent,
        ):
            assert (await agent.call(request())).status == 200
            await agent.endpoint.close()
            await agent.endpoint.close()
            assert (await agent.call(request())).status == 401
            with pytest.raises(GatewayError, match="closed"):
                await agent.endpoint.ask("x")
            assert len((await agent.endpoint.seen()).calls) == 1

    asyncio.run(scenario())


def test_the_harness_asks_the_same_way() -> None:
    async def scenario() -> tuple[str, Seen]:
        with ModelServer([Status(500), Answer("Very good.")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url) as gateway,
            ):
                endpoint = gateway.open(key)
                text = await endpoint.ask("How good is it?")
                return text, await endpoint.seen()

    text, seen = asyncio.run(scenario())
    assert text == "Very good."
    assert [call.cause for call in seen.calls] == [Cause.PROVIDER_ERROR, None]


def test_recordings_of_a_run_serve_its_trials_and_no_other(tmp_path: Path) -> None:
    write_recording(tmp_path, "turns: [{tools: [{Bash: {command: 'ls {workdir}'}}]}, {text: Done.}]")
    mine = dataclasses.replace(replay_key, suite_root=tmp_path)

    async def scenario() -> None:
        async with deployed(containers=2) as deployment:
            await deployment.register("other-run", b"o" * 32)
            async with remote(deployment.url) as gateway:
                await gateway.preflight("replay", [mine, mine])
                async with remote_agent(gateway, mine) as agent:
                    reply = await agent.call(request(model="replay", stream=False))
                    assert b"ls /job" in reply.body
                    agent.endpoint = at(agent.endpoint, deployment.containers[1])  # type: ignore[arg-type, assignment]
                    reply = await agent.call(request(model="replay", turn=2, stream=False))
                    assert b"Done." in reply.body
                    beyond = await agent.call(request(model="replay", turn=3))
                    assert f"Add it to {tmp_path / 'replay' / 'task.yaml'}" in beyond.message
                recording = verify(gateway.open(mine).api_key, SECRET, time.time()).recording
                assert len(recording) == 32
            async with remote(deployment.url, run="other-run", secret=b"o" * 32) as gateway:
                stolen = dataclasses.replace(replay_key, recording=recording)
                async with remote_agent(gateway, stolen) as agent:
                    reply = await agent.call(request(model="replay"))
                    assert (reply.status, reply.json["error"]["code"]) == (400, "replay_miss")
                    assert (await agent.last()).cause is Cause.REPLAY_MISS

    asyncio.run(scenario())


def test_a_recording_that_no_preflight_saw_is_sent_when_its_trial_opens(tmp_path: Path) -> None:
    write_recording(tmp_path, "turns: [{text: Done.}]")

    async def scenario() -> None:
        async with (
            deployed() as deployment,
            remote(deployment.url) as gateway,
            remote_agent(gateway, dataclasses.replace(replay_key, suite_root=tmp_path)) as agent,
        ):
            await asyncio.gather(*gateway._sent.values())
            assert (await agent.call(request(model="replay"))).status == 200

    asyncio.run(scenario())


def test_a_missing_recording_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deployed() as deployment, remote(deployment.url) as gateway:
            missing = dataclasses.replace(replay_key, suite_root=tmp_path)
            with pytest.raises(UserError, match="cannot serve 1 of the tasks"):
                await gateway.preflight("replay", [missing])
            async with remote_agent(gateway, missing) as agent:
                reply = await agent.call(request(model="replay"))
                assert (reply.status, reply.json["error"]["code"]) == (400, "replay_miss")

    asyncio.run(scenario())


def test_preflight_asks_the_model_through_the_gateway() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("OK"), Status(401, f"no such key {KEY}")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url) as gateway,
            ):
                await gateway.preflight(MODEL, [])
                with pytest.raises(UserError) as caught:
                    await gateway.preflight(MODEL, [])
                with pytest.raises(UserError, match="no model 'other'"):
                    await gateway.preflight("other", [])
        text = str(caught.value)
        assert KEY not in text
        assert "python infra/setup.py" in text
        assert "modal app logs goat-services --env goat" in text

    asyncio.run(scenario())


def failing(step: Callable[[RemoteGateway, Deployment], Awaitable[object]]) -> str:
    """What `step` says when the gateway has gone away under a run."""

    async def scenario() -> str:
        async with deployed(lambda: Parts(END)) as deployment, remote(deployment.url) as gateway:
            await deployment.containers[0].gateway.stop()
            with pytest.raises((GatewayError, UserError)) as caught:
                await step(gateway, deployment)
            if isinstance(caught.value, GatewayError):
                assert caught.value.cause is Cause.UNREACHABLE
            return str(caught.value)

    return asyncio.run(scenario())


def test_what_was_seen_cannot_be_read_when_the_gateway_is_away() -> None:
    async def step(gateway: RemoteGateway, _: Deployment) -> None:
        endpoint = gateway.open(key)
        assert endpoint.api_key
        await endpoint.close()
        await endpoint.seen()

    text = failing(step)
    assert "connection refused" in text
    assert "modal app logs goat-services --env goat" in text
    assert "goat doctor" in text
    assert SECRET.decode() not in text


def test_recordings_cannot_be_sent_when_the_gateway_is_away(tmp_path: Path) -> None:
    write_recording(tmp_path, "turns: [{text: Done.}]")
    text = failing(
        lambda gateway, _: gateway.preflight("replay", [dataclasses.replace(replay_key, suite_root=tmp_path)])
    )
    assert "The recordings cannot be sent" in text


def test_a_request_is_tried_again_when_its_connection_fails() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("a")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url) as gateway,
                remote_agent(gateway, key) as agent,
            ):
                await agent.call(request())
                connections = deployment.containers[0].gateway._web.connections
                assert await agent.endpoint.seen()
                for connection in list(connections):
                    connection.transport.abort()  # type: ignore[union-attr]
                assert len((await agent.endpoint.seen()).calls) == 1

    asyncio.run(scenario())


def start(url: str, cold_start: float = 5.0) -> tuple[str, list[str]]:
    """What `start` says when it fails, "" when it does not, and what it told meanwhile."""
    told: list[str] = []

    async def scenario() -> str:
        gateway = RemoteGateway(url, RUN, SECRET, [MODEL], cold_start=cold_start, progress=told.append)
        try:
            await gateway.start()
        except UserError as error:
            return str(error)
        finally:
            await gateway.stop()
        return ""

    return asyncio.run(scenario()), told


def test_a_gateway_that_is_not_deployed_is_said_at_once() -> None:
    with ModelServer() as server:
        text, _ = start(server.url.removesuffix("/v1"))
    assert "There is no gateway at" in text
    assert "modal deploy infra/services.py --env goat" in text


def test_a_gateway_that_nobody_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONNECT", 0.1)
    monkeypatch.setattr(client, "_AGAIN", 0.1)
    with closed_port() as port:
        text, told = start(f"http://127.0.0.1:{port}")
    assert "connection refused" in text
    assert "goat doctor" in text
    assert told


def test_a_gateway_whose_container_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LOOK", 0.5)
    monkeypatch.setattr(client, "_AGAIN", 0.01)

    async def scenario() -> tuple[list[str], str]:
        states = ["hang", "starting", "ok"]

        async def serve(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
            state = states.pop(0) if len(states) > 1 else states[0]
            if state == "hang":
                await asyncio.sleep(30)
            return aiohttp.web.json_response({"status": state}, status=200 if state == "ok" else 503)

        told: list[str] = []
        server = aiohttp.web.Server(serve, handler_cancellation=True)
        listener = listen()
        async with await asyncio.get_running_loop().create_server(server, sock=listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            gateway = RemoteGateway(url, RUN, SECRET, [MODEL], cold_start=10, progress=told.append)
            await gateway.start()
            await gateway.stop()
            states[:] = ["starting"]
            gateway = RemoteGateway(url, RUN, SECRET, [MODEL], cold_start=0.6)
            with pytest.raises(UserError) as caught:
                await gateway.start()
            await server.shutdown(0)
        return told, str(caught.value)

    told, text = asyncio.run(scenario())
    said = [line.partition(": ")[2] for line in told]
    assert said[0] == "its container starts"
    assert "LiteLLM starts" in said
    assert "is not ready after 1 s: " in text
    assert "modal app logs goat-services --env goat" in text


def test_the_process_that_leads_registers_its_run_and_the_others_are_handed_it() -> None:
    async def scenario() -> None:
        shelf = LosableShelf()
        async with deployed(lambda: Parts(END), shelf=shelf) as deployment:
            leads = RemoteGateway(deployment.url, "new-run", b"n" * 32, [MODEL], shelf=shelf)
            async with running(leads):
                handed = leads.handover()
            follows = RemoteGateway(
                handed["gateway_url"], "new-run", bytes.fromhex(handed["run_secret"]), [MODEL]
            )
            async with running(follows), remote_agent(follows, key) as agent:
                assert (await agent.call(request())).status == 200
            shelf.lost = True
            with pytest.raises(UserError, match="the shelf is away"):
                await leads.start()

    asyncio.run(scenario())


def test_the_models_timeout_is_the_trials_own() -> None:
    async def scenario() -> None:
        with ModelServer([Hang()]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                remote(deployment.url, model_timeout=0.1) as gateway,
                remote_agent(gateway, key) as agent,
            ):
                assert (await agent.call(request())).status == 504
                assert (await agent.last()).cause is Cause.MODEL_TIMEOUT

    asyncio.run(scenario())


def test_two_hundred_trials_at_once(tmp_path: Path) -> None:
    count = 200
    for number in range(count):
        write_recording(
            tmp_path, f"turns: [{{text: '{number}', usage: {{prompt_tokens: {number}}}}}]", f"task-{number}"
        )

    async def one(gateway: RemoteGateway, session: aiohttp.ClientSession, number: int) -> None:
        endpoint = gateway.open(trial_key("replay", f"task-{number}", tmp_path))
        reply = await Agent(endpoint, session).call(request(model="replay", stream=False))
        assert reply.json["choices"][0]["message"]["content"] == str(number)
        seen = await endpoint.seen()
        assert (seen.turns, seen.usage.prompt_tokens) == (1, number)
        await endpoint.close()

    async def scenario() -> None:
        async with (
            deployed() as deployment,
            remote(deployment.url) as gateway,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            keys = [trial_key("replay", f"task-{number}", tmp_path) for number in range(count)]
            await gateway.preflight("replay", keys)
            await asyncio.gather(*(one(gateway, session, number) for number in range(count)))

    asyncio.run(scenario())

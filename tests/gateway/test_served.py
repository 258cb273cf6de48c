"""The deployed gateway: whom it serves, what it refuses, and what it saw, with several containers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import attempt, served, serving
from pytest_goat.gateway.base import Usage
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.log import PATIENCE, Entry, read_log
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.shelf import MemoryShelf
from pytest_goat.gateway.upstream import Answer as Answered
from tests.gateway.calls import MODEL, Reply, request
from tests.gateway.deployed import RUN, Caller, Deployment, LosableShelf, caller, claims, deployed, token
from tests.gateway.providers import CHUNK, END, KEY, Parts
from tests.support.model_server import Answer, ModelServer, Raw, Status
from tests.support.model_server import Reply as Scripted

ATTEMPT = claims().attempt
OTHER_SECRET = b"f" * 32


def run_token(**changes: Any) -> str:
    return token(**{"role": "run", "trial": "", "nonce": "", "model": "", **changes})


async def entries(deployment: Deployment, attempt: str = ATTEMPT, patience: float = PATIENCE) -> list[Entry]:
    return await read_log(deployment.shelf, RUN, attempt, patience)


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("", 401, "invalid_api_key"),
        ("goat", 401, "invalid_api_key"),
        (KEY, 401, "invalid_api_key"),
        ("\u00ff", 401, "invalid_api_key"),
        (token(OTHER_SECRET), 401, "invalid_api_key"),
        (token()[:-1], 401, "invalid_api_key"),
        (token(run="20260101-000000-ffff"), 401, "invalid_api_key"),
        (token(expires=time.time() - 1), 401, "token_expired"),
        (token(run="expired"), 401, "invalid_api_key"),
        (token(model="dear"), 403, "model_not_found"),
        (run_token(), 403, "insufficient_permissions"),
        (token(role="admin"), 403, "insufficient_permissions"),
    ],
)
def test_tokens_that_are_worth_nothing(key: str, status: int, code: str) -> None:
    async def scenario() -> None:
        with ModelServer() as server:
            async with deployed(lambda: DirectUpstream(server.url, KEY)) as deployment:
                await deployment.register("expired", expires=-1)
                async with caller(deployment.url, key) as agent:
                    for reply in (
                        await agent.call(request()),
                        await agent.call(method="GET", path="/models"),
                    ):
                        assert (reply.status, reply.json["error"]["code"]) == (status, code)
                assert await entries(deployment) == []
                assert server.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize("scheme", ["Basic", "", "Token"])
def test_only_a_bearer_token_is_one(scheme: str) -> None:
    async def scenario() -> Reply:
        async with deployed(lambda: Parts(END)) as deployment, caller(deployment.url, "") as agent:
            agent.headers = {"Authorization": f"{scheme} {token()}".strip()}
            return await agent.call(request())

    assert asyncio.run(scenario()).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/goat/trials/{ATTEMPT}/seen"),
        ("POST", f"/goat/trials/{ATTEMPT}/close"),
        ("PUT", f"/goat/recordings/{'0' * 32}"),
    ],
)
def test_what_is_the_hosts_is_not_the_trials(method: str, path: str) -> None:
    async def scenario() -> None:
        async with deployed(lambda: Parts(END)) as deployment:
            for key, status in ((token(), 403), ("", 401), (run_token(run="other"), 401)):
                async with caller(deployment.url, key) as agent:
                    assert (await agent.call(b"{}", method=method, path=f"/..{path}")).status == status
            async with caller(deployment.url, token()) as agent:
                assert (await agent.call(request())).status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/goat/trials"),
        ("GET", "/metrics"),
        ("DELETE", "/models"),
        ("PUT", "/goat/recordings/x"),
    ],
)
def test_nothing_else_is_there(method: str, path: str) -> None:
    async def scenario() -> int:
        async with deployed() as deployment, caller(deployment.url, run_token()) as agent:
            return (await agent.call(method=method, path=f"/..{path}")).status

    assert asyncio.run(scenario()) == 404


def test_health_is_public_and_says_whether_it_serves() -> None:
    async def scenario() -> None:
        async with deployed() as deployment, caller(deployment.url, "") as agent:
            reply = await agent.call(method="GET", path="/../health")
            assert (reply.status, reply.json) == (200, {"status": "ok"})

    asyncio.run(scenario())


def test_a_trial_sees_its_own_model_alone() -> None:
    async def scenario() -> None:
        async with deployed(lambda: Parts(END)) as deployment, caller(deployment.url, token()) as agent:
            reply = await agent.call(method="GET", path="/models")
            assert [model["id"] for model in reply.json["data"]] == [MODEL]
            reply = await agent.call(request(model="replay"))
            assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
            [entry] = await entries(deployment)
            assert (entry.as_call().cause, entry.as_call().model_asked) == (Cause.FORBIDDEN, "replay")

    asyncio.run(scenario())


def test_a_model_without_a_key_is_not_served() -> None:
    async def scenario() -> Reply:
        async with deployed() as deployment, caller(deployment.url, token()) as agent:
            return await agent.call(request())

    reply = asyncio.run(scenario())
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
    assert "python infra/setup.py" in reply.message


def test_what_is_posted_elsewhere_is_seen_as_everywhere() -> None:
    async def scenario() -> None:
        async with deployed(lambda: Parts(END)) as deployment, caller(deployment.url, token()) as agent:
            assert (await agent.call(request(), path="/responses")).status == 404
            assert [entry.as_call().cause for entry in await entries(deployment)] == [Cause.FORBIDDEN]

    asyncio.run(scenario())


def test_two_containers_see_one_trial_whole_and_in_order() -> None:
    count = 24
    replies = [Status(429) if n % 5 == 4 else Answer("a", usage={"prompt_tokens": n}) for n in range(count)]

    async def scenario() -> None:
        with ModelServer(replies) as server:
            async with deployed(lambda: DirectUpstream(server.url, KEY), containers=2) as deployment:
                async with caller(deployment.url, token()) as agent:
                    for number in range(count):
                        container = deployment.containers[number % 7 % 2]
                        agent.endpoint = Caller(f"{container.url}/v1", token())  # type: ignore[assignment]
                        await agent.call(request())
                calls = [entry.as_call() for entry in await entries(deployment)]
        assert [call.usage.prompt_tokens for call in calls] == [0 if n % 5 == 4 else n for n in range(count)]
        assert [call.cause for call in calls] == [
            Cause.RATE_LIMITED if n % 5 == 4 else None for n in range(count)
        ]
        assert [call.started for call in calls] == sorted(call.started for call in calls)

    asyncio.run(scenario())


def test_parallel_calls_of_one_trial_on_two_containers_are_all_seen() -> None:
    async def scenario() -> None:
        with ModelServer(
            lambda body, _: Answer("a", usage={"prompt_tokens": body["n"], "cost": 0.01})
        ) as server:
            async with deployed(lambda: DirectUpstream(server.url, KEY), containers=2) as deployment:
                keys = [token()] * 2
                async with (
                    caller(deployment.containers[0].url, keys[0]) as one,
                    caller(deployment.containers[1].url, keys[1]) as two,
                ):
                    calls = [(one, two)[n % 2].call(request(n=n)) for n in range(40)]
                    assert {reply.status for reply in await asyncio.gather(*calls)} == {200}
                seen = [entry.as_call() for entry in await entries(deployment)]
        assert sorted(call.usage.prompt_tokens for call in seen) == list(range(40))
        assert sum((call.usage for call in seen), Usage()).cost == pytest.approx(0.4)

    asyncio.run(scenario())


class SlowShelf(MemoryShelf):
    """A shelf on which nothing is replaced before it is `open`."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, value: bytes) -> None:
        if key.startswith("seen/"):
            self.reached.set()
            await self.open.wait()
        await super().put(key, value)


@pytest.mark.parametrize(
    ("script", "stream", "end"),
    [
        (Answer("abc", pieces=3), True, b"[DONE]"),
        (Answer("abc"), False, b"}"),
        (Status(429), True, b"}"),
        (Raw(CHUNK + b'data: {"error": {"message": "oh"}}\n\n'), True, b""),
    ],
    ids=["stream", "json", "error", "error in the stream"],
)
def test_a_call_is_in_the_log_before_the_agent_has_its_last_byte(
    script: Scripted, stream: bool, end: bytes
) -> None:
    async def scenario() -> None:
        shelf, got = SlowShelf(), bytearray()

        async def read() -> None:
            async with agent.open(request(stream=stream)) as response:
                async for part in response.content.iter_any():
                    got.extend(part)

        with ModelServer([script]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY), shelf=shelf) as deployment,
                caller(deployment.url, token()) as agent,
            ):
                reading = asyncio.create_task(read())
                await shelf.reached.wait()
                await asyncio.sleep(0.1)  # what is tested is that nothing comes
                assert not reading.done()
                assert not end or end not in got
                shelf.open.set()
                await reading
                assert end in got
                [entry] = await entries(deployment)
                assert entry.call is not None
                assert not entry.call.hung_up

    asyncio.run(scenario())


def test_an_agent_that_leaves_at_the_last_word_does_not_take_it_out_of_the_log() -> None:
    async def scenario() -> None:
        shelf = SlowShelf()
        with ModelServer([Answer("abc")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY), shelf=shelf) as deployment,
                caller(deployment.url, token()) as agent,
            ):
                asking = asyncio.create_task(agent.call(request()))
                try:
                    async with asyncio.timeout(30):
                        await shelf.reached.wait()
                        serving = asyncio.all_tasks() - {asking}
                        asking.cancel()
                        while not any(task.cancelling() or task.done() for task in serving):
                            await asyncio.sleep(0.001)
                finally:
                    shelf.open.set()
                [entry] = await entries(deployment)
                assert entry.call is not None
                assert (entry.call.finish_reason, entry.call.hung_up) == ("stop", False)

    asyncio.run(scenario())


def test_an_agent_that_hangs_up_is_seen_as_such() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("abc", hang_after=2)]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                caller(deployment.url, token()) as agent,
            ):
                async with agent.open(request()) as response:
                    await response.content.readany()
                    [entry] = await entries(deployment, patience=0)
                    assert (entry.call, entry.as_call().hung_up) == (None, True)
                    response.close()
                [entry] = await entries(deployment)
                assert entry.call is not None
                assert (entry.call.hung_up, entry.call.cause, entry.call.status) == (True, None, 200)

    asyncio.run(scenario())


def test_a_container_that_is_lost_in_the_middle_leaves_a_call_that_was_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "_GRACE", 0.05)

    async def scenario() -> None:
        shelf = LosableShelf()
        with ModelServer([Answer("abc", hang_after=2), Answer("b")]) as server:
            async with deployed(
                lambda: DirectUpstream(server.url, KEY), containers=2, shelf=shelf
            ) as deployment:
                async with caller(deployment.url, token()) as agent:
                    async with agent.open(request()) as response:
                        await response.content.readany()
                        shelf.lost = True
                        await deployment.containers[0].gateway.stop()
                        with pytest.raises(aiohttp.ClientError):
                            await response.content.read()
                    shelf.lost = False
                    agent.endpoint = Caller(f"{deployment.containers[1].url}/v1", token())  # type: ignore[assignment]
                    assert (await agent.call(request())).status == 200
                started = time.monotonic()
                first, second = await entries(deployment, patience=0.2)
                assert 0.2 <= time.monotonic() - started < PATIENCE
                assert (first.call, first.as_call().hung_up) == (None, True)
                assert second.as_call().cause is None

    asyncio.run(scenario())


def test_without_the_shelf_nothing_is_asked_of_the_model() -> None:
    async def scenario() -> None:
        shelf = LosableShelf()
        with ModelServer([Answer("a")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY), shelf=shelf) as deployment,
                caller(deployment.url, token()) as agent,
            ):
                shelf.lost = True
                reply = await agent.call(request())
                assert (reply.status, reply.message) == (503, "the shelf is away")
                shelf.lost = False
                assert (await agent.call(request())).status == 200
                assert len(server.requests) == 1

    asyncio.run(scenario())


def test_a_trial_that_is_over_is_refused_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_LOOK", 0.0)

    async def scenario() -> None:
        async with deployed(lambda: Parts(END), containers=2) as deployment:
            one, two = deployment.containers
            for container in (two, one):
                async with caller(container.url, token()) as agent:
                    assert (await agent.call(request())).status == 200
            async with caller(one.url, run_token()) as host:
                for _ in range(2):
                    reply = await host.call(b"", path=f"/../goat/trials/{ATTEMPT}/close")
                    assert reply.status == 200
            for container in (one, two):
                async with caller(container.url, token()) as agent:
                    for reply in (
                        await agent.call(request()),
                        await agent.call(method="GET", path="/models"),
                    ):
                        assert (reply.status, reply.json["error"]["code"]) == (401, "token_expired")
            async with caller(one.url, token(nonce="01")) as agent:
                assert (await agent.call(request())).status == 200
            assert len(await entries(deployment)) == 2

    asyncio.run(scenario())


def test_closing_a_trial_breaks_its_calls_off() -> None:
    async def scenario() -> None:
        with ModelServer([Answer("abc", hang_after=2)]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                caller(deployment.url, token()) as agent,
                caller(deployment.url, run_token()) as host,
                agent.open(request()) as response,
            ):
                await response.content.readany()
                await host.call(b"", path=f"/../goat/trials/{ATTEMPT}/close")
                with pytest.raises(aiohttp.ClientError):
                    await asyncio.wait_for(response.content.read(), 5)
                [entry] = await entries(deployment, patience=0)
                assert entry.call is not None
                assert entry.call.hung_up

    asyncio.run(scenario())


def test_limits_that_the_token_says() -> None:
    usage = {"prompt_tokens": 1, "cost": 0.3}

    async def statuses(*containers: int, **limits: Any) -> list[int]:
        with ModelServer([Answer("a", usage=usage)] * 9) as server:
            async with deployed(lambda: DirectUpstream(server.url, KEY), containers=2) as deployment:
                key, got = token(**limits), []
                for number in containers:
                    async with caller(deployment.containers[number].url, key) as agent:
                        got.append((await agent.call(request())).status)
                calls = [entry.as_call() for entry in await entries(deployment)]
                assert [call.status for call in calls] == got
                assert [call.cause for call in calls if call.status == 403] == [Cause.BUDGET] * got.count(403)
                return got

    assert asyncio.run(statuses(0, 0, 0, requests_per_minute=2)) == [200, 200, 429]
    assert asyncio.run(statuses(0, 1, 0, 1, max_cost=0.5)) == [200, 200, 403, 403]


def test_a_trial_has_a_bounded_number_of_calls_over_all_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_CALLS", 3)

    async def scenario() -> list[int]:
        async with deployed(lambda: Parts(END), containers=2) as deployment:
            got = []
            for number in (0, 0, 1, 1, 0):
                async with caller(deployment.containers[number].url, token()) as agent:
                    got.append((await agent.call(request())).status)
            assert len(await entries(deployment)) == 3
            return got

    assert asyncio.run(scenario()) == [200, 200, 200, 403, 403]


class Gate(Parts):
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(CHUNK, END)
        self.asked, self.open = 0, asyncio.Event()

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answered]:
        self.asked += 1
        await self.open.wait()
        async with super().answer(request) as answer:
            yield answer


def test_one_trial_cannot_take_all_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_AT_ONCE", 3)

    async def scenario() -> None:
        gate = Gate()
        async with (
            deployed(lambda: gate) as deployment,
            caller(deployment.url, token()) as agent,
            caller(deployment.url, token(trial="other")) as other,
        ):
            held = [asyncio.create_task(agent.call(request())) for _ in range(3)]
            while gate.asked < 3:
                await asyncio.sleep(0.001)
            assert (await agent.call(request())).status == 429
            held.append(asyncio.create_task(other.call(request())))
            gate.open.set()
            assert [reply.status for reply in await asyncio.gather(*held)] == [200] * 4

    asyncio.run(scenario())


def test_too_large_a_request_is_refused() -> None:
    async def scenario() -> None:
        async with deployed(lambda: Parts(END)) as deployment, caller(deployment.url, token()) as agent:
            assert (await agent.call(b" " * (33 * 2**20))).status == 413
            assert [entry.as_call().status for entry in await entries(deployment)] == [413]

    asyncio.run(scenario())


def test_secrets_of_the_gateway_reach_no_agent_and_no_log() -> None:
    async def scenario() -> tuple[Reply, list[Entry]]:
        with ModelServer([Status(401, f"bad key {KEY}")]) as server:
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY)) as deployment,
                caller(deployment.url, token()) as agent,
            ):
                return await agent.call(request()), await entries(deployment)

    reply, [entry] = asyncio.run(scenario())
    assert reply.message == "bad key [redacted]"
    assert KEY.encode() not in entry.to_bytes()
    assert entry.as_call().cause is Cause.AUTH


def test_two_hundred_trials_at_once_on_two_containers() -> None:
    async def one(deployment: Deployment, number: int) -> None:
        container = deployment.containers[number % 2]
        async with caller(container.url, token(trial=f"trial-{number}")) as agent:
            for turn in range(3):
                assert (await agent.call(request(n=100 * number + turn))).status == 200
        seen = [entry.as_call() for entry in await entries(deployment, f"trial-{number}.00")]
        assert [call.usage.prompt_tokens for call in seen] == [100 * number + turn for turn in range(3)]

    async def scenario() -> None:
        async with deployed(Counting, containers=2) as deployment:
            await asyncio.gather(*(one(deployment, number) for number in range(200)))

    asyncio.run(scenario())


class Counting(Parts):
    """An upstream whose usage is what the request says as `n`."""

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answered]:
        async def body() -> AsyncGenerator[bytes, None]:
            usage = b'{"prompt_tokens": %d}' % request.content["n"]
            yield CHUNK
            yield END.replace(b"data: [DONE]", b'data: {"choices": [], "usage": %b}\n\ndata: [DONE]' % usage)

        yield Answered(200, {"content-type": "text/event-stream"}, body())

"""The proxy on real sockets: what the agent gets, and what is recorded of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import ModelCall, Usage
from tests.gateway.calls import (
    KEY,
    MODEL,
    Agent,
    Reply,
    agent_of,
    agent_on,
    listen,
    raw_server,
    request,
    running,
    trial_key,
)
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Raw, Status, ToolCall
from tests.support.model_server import Reply as Scripted

CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": null}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def as_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def one_call(reply: Scripted, body: Any = None, model_timeout: float = 30.0) -> tuple[Reply, ModelCall]:
    """What the agent gets for `body` from a server that answers with `reply`, and what is recorded."""
    with ModelServer([reply]) as server:
        async with agent_of(server.url, model_timeout=model_timeout) as agent:
            got = await agent.call(request() if body is None else body)
            return got, await agent.last()


def test_a_stream_passes_byte_for_byte() -> None:
    body = b": hello\n\n" + CHUNK.replace(b"half", "ü\u2028".encode()) + b"data: {broken\r\n\r\n" + END
    got, call = asyncio.run(one_call(Raw(body)))
    assert got.body == body
    assert got.headers["Content-Type"] == "text/event-stream"
    assert (call.status, call.cause, call.message, call.finish_reason, call.hung_up) == (
        200,
        None,
        "",
        "stop",
        False,
    )


def test_a_json_answer_passes_byte_for_byte() -> None:
    body = b'{ "choices" : [{"message": {"content": "x"}, "finish_reason": "length"}]}\n'
    got, call = asyncio.run(one_call(Raw(body, "application/json"), request(stream=False)))
    assert (got.body, got.headers["Content-Type"]) == (body, "application/json")
    assert (call.cause, call.finish_reason) == (None, "length")


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_call_was_is_recorded(stream: bool) -> None:
    usage = {"prompt_tokens": 900, "completion_tokens": 40, "cost": 0.25}
    tools = [ToolCall("Bash", {"command": "ls"}), ToolCall("Read", {"file_path": "/x"})]
    reply = Answer("I look.", tools=tools, usage=usage, model="served-1")
    _, call = asyncio.run(one_call(reply, request(stream=stream)))
    assert call.usage == Usage(900, 0, 40, 0, 0.25)
    assert (call.model_asked, call.model_served) == (MODEL, "served-1")
    assert (call.finish_reason, call.tool_calls) == ("tool_calls", 2)
    assert call.first_byte is not None
    assert 0 < call.first_byte <= call.duration


def test_usage_that_the_agent_did_not_ask_for_is_recorded_and_hidden() -> None:
    async def scenario() -> tuple[list[Reply], list[Usage], list[Mapping[str, Any]]]:
        with ModelServer([Answer("one", pieces=3), Answer("one", pieces=3)]) as server:
            async with agent_of(server.url) as agent:
                got = [await agent.call(request(usage=usage)) for usage in (False, True)]
                seen = await agent.endpoint.seen()
                return got, [call.usage for call in seen.calls], [sent.json for sent in server.requests]

    (without, asked), usages, sent = asyncio.run(scenario())
    assert usages == [Usage(10, 0, 5)] * 2
    assert all(body["stream_options"] == {"include_usage": True} for body in sent)
    assert asked.chunks[-1]["usage"]
    assert asked.chunks[:-1] == without.chunks
    assert without.body.endswith(b"data: [DONE]\n\n")


def test_the_first_chunk_comes_while_the_model_still_thinks() -> None:
    async def scenario(*, usage: bool) -> None:
        read = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + as_chunk(CHUNK))
            await read.wait()
            writer.write(as_chunk(END) + b"0\r\n\r\n")
            await writer.drain()

        async with raw_server(serve) as url, agent_of(url) as agent, agent.open(request(usage=usage)) as got:
            assert await got.content.readexactly(len(CHUNK)) == CHUNK
            read.set()
            assert await got.content.read() == END

    asyncio.run(scenario(usage=True))
    asyncio.run(scenario(usage=False))


ENDS: dict[str, tuple[Scripted, int, Cause]] = {
    "no answer": (Drop(), 502, Cause.UNREACHABLE),
    "401": (Status(401), 401, Cause.AUTH),
    "403": (Status(403), 403, Cause.AUTH),
    "404": (Status(404), 404, Cause.MODEL_NOT_FOUND),
    "429": (Status(429), 429, Cause.RATE_LIMITED),
    "500": (Status(500), 500, Cause.PROVIDER_ERROR),
    "529": (Status(529), 529, Cause.PROVIDER_ERROR),
    "redirect": (Status(307, "", {"Location": "http://127.0.0.1:1/"}), 307, Cause.PROVIDER_ERROR),
    "too long": (Status(400, "maximum context length is 8192 tokens"), 400, Cause.CONTEXT_OVERFLOW),
    "other 400": (Status(400, "temperature is wrong"), 400, Cause.BAD_REQUEST),
    "error in the stream": (
        Raw(CHUNK + b'data: {"error": {"message": "oh"}}\n\n'),
        200,
        Cause.PROVIDER_ERROR,
    ),
    "429 in the stream": (
        Raw(b'data: {"error": {"message": "oh", "code": 429}}\n\n'),
        200,
        Cause.RATE_LIMITED,
    ),
    "error as an answer": (Raw(b'{"error": "oh"}', "application/json"), 200, Cause.PROVIDER_ERROR),
    "a web page": (Raw(b"<html>", "application/json"), 200, Cause.PROVIDER_ERROR),
    "cut": (Answer("abc", cut_after=2), 200, Cause.STREAM_CUT),
    "ended early": (Answer("abc", finish=None, done=False), 200, Cause.STREAM_CUT),
}


@pytest.mark.parametrize(("reply", "status", "cause"), ENDS.values(), ids=ENDS.keys())
def test_bad_ends(reply: Scripted, status: int, cause: Cause) -> None:
    got, call = asyncio.run(one_call(reply))
    assert (got.status, call.status, call.cause) == (status, status, cause)
    assert call.message
    assert not call.hung_up
    assert got.cut == (
        cause is Cause.STREAM_CUT and isinstance(reply, Answer) and reply.cut_after is not None
    )


def test_nobody_listens_there() -> None:
    async def scenario() -> tuple[Reply, ModelCall]:
        with listen() as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        async with agent_of(url) as agent:
            return await agent.call(request()), await agent.last()

    got, call = asyncio.run(scenario())
    assert (got.status, call.status, call.cause) == (502, 502, Cause.UNREACHABLE)
    assert got.message == call.message
    assert "connection refused" in call.message


def test_what_answers_is_no_http_server() -> None:
    async def scenario() -> tuple[Reply, ModelCall]:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

        async with raw_server(serve) as url, agent_of(url) as agent:
            return await agent.call(request()), await agent.last()

    got, call = asyncio.run(scenario())
    assert (got.status, call.cause) == (502, Cause.UNREACHABLE)
    assert "no HTTP server" in call.message


def test_a_model_that_says_nothing_times_out() -> None:
    got, call = asyncio.run(one_call(Hang(), model_timeout=0.1))
    assert (got.status, call.status, call.cause) == (504, 504, Cause.MODEL_TIMEOUT)
    assert got.message == "no byte from the model for 0.1 s"


def test_a_model_that_falls_silent_times_out_and_the_agent_sees_a_cut() -> None:
    got, call = asyncio.run(one_call(Answer("abc", hang_after=2), model_timeout=0.2))
    assert (got.cut, call.status, call.cause) == (True, 200, Cause.MODEL_TIMEOUT)


def test_a_trial_may_want_a_shorter_timeout_but_no_longer_one() -> None:
    async def scenario() -> list[str]:
        with ModelServer([Hang(), Hang()]) as server:
            gateway = make_gateway([MODEL], server.url, KEY, model_timeout=0.2)
            async with running(gateway), aiohttp.ClientSession() as session:
                endpoints = [gateway.open(trial_key(), 0.1), gateway.open(trial_key(), 60.0)]
                for endpoint in endpoints:
                    endpoint.attach(listen(), True)
                return [(await Agent(endpoint, session).call(request())).message for endpoint in endpoints]

    first, second = asyncio.run(scenario())
    assert "0.1 s" in first
    assert "0.2 s" in second


@pytest.mark.parametrize("last", [b"", b"0\r\n\r\n"])
def test_a_whole_answer_stays_whole_when_the_server_just_hangs_up(last: bytes) -> None:
    async def scenario() -> tuple[Reply, ModelCall]:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + as_chunk(CHUNK + END) + last)

        async with raw_server(serve) as url, agent_of(url) as agent:
            return await agent.call(request()), await agent.last()

    got, call = asyncio.run(scenario())
    assert (got.body, got.cut, call.cause) == (CHUNK + END, False, None)


def test_an_agent_that_hangs_up_ends_the_call_to_the_provider() -> None:
    async def scenario() -> tuple[ModelCall, ModelCall]:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + as_chunk(CHUNK))
            await reader.read()
            gone.set()

        async with raw_server(serve) as url, agent_of(url) as agent:
            async with agent.open(request()) as got:
                await got.content.readexactly(len(CHUNK))
                under_way = await agent.last()
                got.close()
            await asyncio.wait_for(gone.wait(), 10)
            return under_way, await agent.last()

    for call in asyncio.run(scenario()):
        assert (call.status, call.cause, call.hung_up, call.finish_reason) == (200, None, True, "")


def test_an_agent_that_leaves_after_the_last_word_did_not_hang_up() -> None:
    async def scenario() -> ModelCall:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + as_chunk(CHUNK + END))
            await reader.read()

        async with raw_server(serve) as url, agent_of(url) as agent:
            async with agent.open(request()) as got:
                await got.content.readexactly(len(CHUNK + END))
                got.close()
            return await agent.last()

    call = asyncio.run(scenario())
    assert (call.cause, call.hung_up, call.finish_reason) == (None, False, "stop")


def test_calls_are_counted_and_summed() -> None:
    script: list[Scripted] = [Status(500), Answer("a"), Status(429), Answer("b")]

    async def scenario() -> None:
        with ModelServer(script) as server:
            async with agent_of(server.url) as agent:
                assert (await agent.endpoint.seen()).last is None
                for _ in script:
                    await agent.call(request())
                seen = await agent.endpoint.seen()
                assert seen.usage == Usage(20, 0, 10)
                assert (seen.turns, seen.retries) == (2, 2)
                assert [call.started for call in seen.calls] == sorted(call.started for call in seen.calls)

    asyncio.run(scenario())


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
                assert [call.cause for call in calls] == [Cause.BAD_REQUEST] * (method == "POST")
                assert server.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "status", "cause"),
    [
        (b"{", 400, Cause.BAD_REQUEST),
        (b" " * (33 * 2**20), 413, Cause.BAD_REQUEST),
        (request(model="dear"), 404, Cause.MODEL_NOT_FOUND),
    ],
    ids=["no JSON", "too large", "another model"],
)
def test_what_a_trial_may_not_ask_never_reaches_the_provider(body: Any, status: int, cause: Cause) -> None:
    async def scenario() -> None:
        with ModelServer() as server:
            async with agent_of(server.url) as agent:
                reply, call = await agent.call(body), await agent.last()
                assert (reply.status, call.status, call.cause) == (status, status, cause)
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
                    assert (await one.last()).cause is Cause.AUTH
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

    async def scenario() -> Reply:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            middle = body.index(KEY.encode()) + 5
            writer.write(HEAD.replace(b"200", b"401") + as_chunk(body[:middle]))
            await writer.drain()
            writer.write(as_chunk(body[middle:]) + b"0\r\n\r\n")

        async with raw_server(serve) as url, agent_of(url) as agent:
            return await agent.call(request())

    got = asyncio.run(scenario())
    assert got.message == "bad key [redacted]"


def test_messages_are_bounded() -> None:
    got, call = asyncio.run(one_call(Status(400, "x" * 5000)))
    assert len(got.message) == 5000
    assert len(call.message) == 500


def test_a_request_of_many_megabytes_passes() -> None:
    content = request(messages=[{"role": "user", "content": "x" * 8 * 2**20}])
    got, call = asyncio.run(one_call(Answer("a"), content))
    assert (got.status, call.cause) == (200, None)


def test_retry_after_passes() -> None:
    got, _ = asyncio.run(one_call(Status(429, headers={"Retry-After": "7"})))
    assert got.headers["Retry-After"] == "7"


def test_the_cost_that_litellm_tells_in_a_header_counts() -> None:
    body = {"choices": [{"message": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    reply = Status(200, body, {"x-litellm-response-cost": "0.0125"})
    _, call = asyncio.run(one_call(reply, request(stream=False)))
    assert call.usage == Usage(3, cost=0.0125)


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
                port = int(agent.endpoint.base_url.split(":")[2].split("/")[0])
                held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await asyncio.wait_for(reader.read(), 10) == b""
                for _, other in [(reader, writer), *held]:
                    other.close()
                    await other.wait_closed()

    asyncio.run(scenario())

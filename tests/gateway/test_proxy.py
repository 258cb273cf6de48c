"""What passes through the proxy, and what is recorded of it, down to every bad end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import exchange, make_gateway, serving
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.gateway.proxy import ProxyGateway
from tests.gateway.calls import (
    MODEL,
    Agent,
    Reply,
    agent_of,
    agent_on,
    listen,
    one_call,
    parts_call,
    request,
    running,
    trial_key,
)
from tests.gateway.providers import CHUNK, END, HEAD, KEY, Parts, as_chunk, raw_server
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Raw, Status, ToolCall
from tests.support.model_server import Reply as Scripted
from tests.support.ports import closed_port


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
    assert usages == [Usage(10, 0, 5, unpriced=1)] * 2
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
            first = (await agent.last()).first_byte
            assert first is not None
            read.set()
            assert await got.content.read() == END
            assert (await agent.last()).first_byte == first

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
        with closed_port() as port:
            async with agent_of(f"http://127.0.0.1:{port}/v1") as agent:
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


def test_an_error_is_heard_out_before_the_agent_hears_of_it() -> None:
    """An agent that leaves at the status must not take the words along that tell the cause."""

    async def scenario() -> tuple[list[ModelCall], int, ModelCall]:
        heard = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 24\r\n\r\nprompt is")
            await heard.wait()
            writer.write(b" too long: 9999")

        async with raw_server(serve) as url, agent_of(url) as agent:
            calling = asyncio.create_task(agent.call(request()))
            while not (calls := (await agent.endpoint.seen()).calls) or not calls[0].status:
                await asyncio.sleep(0.01)
            assert not calling.done()
            heard.set()
            return list(calls), (await calling).status, await agent.last()

    before, status, call = asyncio.run(scenario())
    assert [(call.status, call.cause) for call in before] == [(400, Cause.BAD_REQUEST)]
    assert (status, call.cause, call.hung_up) == (400, Cause.CONTEXT_OVERFLOW, False)


def test_an_error_whose_words_do_not_come_is_known_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_GRACE", 0.1)

    async def scenario() -> tuple[Reply, ModelCall]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\n")
            await reader.read()

        async with raw_server(serve) as url, agent_of(url) as agent:
            return await agent.call(request()), await agent.last()

    got, call = asyncio.run(scenario())
    assert (got.status, got.cut, call.cause, call.hung_up) == (429, False, Cause.RATE_LIMITED, False)


def test_an_agent_that_leaves_at_an_error_in_the_stream_hides_nothing() -> None:
    event = b'data: {"error": {"message": "no such model", "code": "model_not_found"}}\n\n'

    async def scenario() -> ModelCall:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + as_chunk(event))
            await reader.read()
            gone.set()

        async with raw_server(serve) as url, agent_of(url) as agent:
            async with agent.open(request()) as got:
                await got.content.readexactly(len(event))
                got.close()
            await asyncio.wait_for(gone.wait(), 10)
            return await agent.last()

    call = asyncio.run(scenario())
    assert (call.cause, call.hung_up) == (Cause.MODEL_NOT_FOUND, True)
    assert call.message == "in the answer: no such model"


def test_calls_are_counted_and_summed() -> None:
    script: list[Scripted] = [Status(500), Answer("a"), Status(429), Answer("b")]

    async def scenario() -> None:
        with ModelServer(script) as server:
            async with agent_of(server.url) as agent:
                assert (await agent.endpoint.seen()).last is None
                for _ in script:
                    await agent.call(request())
                seen = await agent.endpoint.seen()
                assert seen.usage == Usage(20, 0, 10, unpriced=2)
                assert (seen.turns, seen.retries) == (2, 2)
                assert [call.started for call in seen.calls] == sorted(call.started for call in seen.calls)

    asyncio.run(scenario())


def test_a_bug_of_ours_is_told_as_one() -> None:
    got, call = parts_call(Parts(ZeroDivisionError(KEY)))
    assert (got.status, call.status, call.cause) == (500, 500, Cause.INTERNAL)
    assert call.message == "the gateway failed: ZeroDivisionError('[redacted]')"


def test_the_time_that_the_agent_takes_to_read_is_not_the_models() -> None:
    async def scenario() -> None:
        upstream = Parts(*[b": %s\n\n" % (b"x" * 2**20)] * 20, END)
        gateway = ProxyGateway({MODEL: upstream}, 0.1)
        async with running(gateway), agent_on(gateway, trial_key()) as agent, agent.open(request()) as got:
            await asyncio.sleep(0.3)  # what is tested is time
            assert (await got.content.read()).endswith(END)
            assert (await agent.last()).cause is None

    asyncio.run(scenario())


def test_an_agent_that_never_reads_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_WRITE_TIMEOUT", 0.1)

    async def scenario() -> None:
        gateway = ProxyGateway({MODEL: Parts(*[b": %s\n\n" % (b"x" * 2**20)] * 20, END)}, 30.0)
        async with running(gateway), agent_on(gateway, trial_key()) as agent, agent.open(request()) as got:
            await asyncio.sleep(0.3)  # what is tested is time
            with pytest.raises(aiohttp.ClientError):
                await got.content.read()
            call = await agent.last()
            assert (call.hung_up, call.cause) == (True, None)

    asyncio.run(scenario())


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

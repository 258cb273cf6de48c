"""Any OpenAI-compatible server: its address, and the call that finds out beforehand what would fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_goat.errors import UserError
from pytest_goat.gateway import make_gateway, preflight
from pytest_goat.gateway.direct import DirectUpstream
from tests.gateway.calls import MODEL, agent_of, request, running, trial_key
from tests.gateway.providers import KEY, raw_server
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Raw, Reply, Script, Status, ToolCall
from tests.support.ports import closed_port

TOOLS_400 = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
ROOM_400 = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."


async def check(url: str, key: str = KEY, model: str = MODEL) -> None:
    gateway = make_gateway([model], url, key)
    async with running(gateway):
        await gateway.preflight(model, [trial_key(model)])


def refusal(script: Script, key: str = KEY, **server: Any) -> str:
    """What the preflight says of a server with this script."""
    with ModelServer(script, **server) as running_server, pytest.raises(UserError) as caught:
        asyncio.run(check(running_server.url, key))
    message = str(caught.value)
    assert message.startswith(f"Model '{MODEL}' at {running_server.url}: ")
    assert KEY not in message
    assert ".." not in message
    return message


@pytest.mark.parametrize(
    "reply", [Answer("OK"), Answer(tools=[ToolCall("note")]), Answer("O", finish="length")]
)
def test_a_server_that_works_passes_with_one_small_call(reply: Reply) -> None:
    with ModelServer([reply]) as server:
        asyncio.run(check(server.url))
    (sent,) = server.requests
    assert (sent.json["model"], sent.json["stream"], len(sent.json["tools"])) == (MODEL, True, 1)
    assert sent.json["max_tokens"] <= 64


def test_a_server_that_does_not_stream_passes() -> None:
    with ModelServer([Answer("OK", streamed=False)]) as server:
        asyncio.run(check(server.url))


def test_a_server_without_a_key_passes() -> None:
    with ModelServer([Answer("OK")]) as server:
        asyncio.run(check(server.url, key=""))
    assert "authorization" not in server.requests[0].headers


def test_a_rate_limit_passes() -> None:
    with ModelServer([Status(429)]) as server:
        asyncio.run(check(server.url))


@pytest.mark.parametrize(
    "second", [Answer("OK"), Status(400, "Could not finish the message because max_tokens was reached.")]
)
def test_the_other_name_of_max_tokens_is_tried(second: Reply) -> None:
    with ModelServer([Status(400, ROOM_400), second]) as server:
        asyncio.run(check(server.url))
    assert "max_tokens" not in server.requests[1].json
    assert server.requests[1].json["max_completion_tokens"] <= 64


def test_the_other_name_need_not_help() -> None:
    assert "HTTP 400: Unsupported" in refusal([Status(400, ROOM_400), Status(400, ROOM_400)])


def test_nobody_listens() -> None:
    problem = r"connection refused\. Is the server running, and is --goat-api-url right"
    with closed_port() as port, pytest.raises(UserError, match=problem):
        asyncio.run(check(f"http://127.0.0.1:{port}/v1"))


def test_there_is_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UserError, match=r"there is no such host\. Is the server running"):
        asyncio.run(check("http://nowhere.invalid/v1"))


def test_tls_where_there_is_none() -> None:
    with ModelServer() as server, pytest.raises(UserError, match="TLS failed"):
        asyncio.run(check(server.url.replace("http:", "https:")))


def test_the_connection_is_dropped() -> None:
    assert "closed the connection without an answer. Is the server running" in refusal([Drop()])


def test_a_wrong_key() -> None:
    message = refusal((), key="sk-another-0123", api_key=KEY)
    assert "HTTP 401" in message
    assert "It refuses the key: set OPENAI_API_KEY to one that is good there." in message
    assert "sk-another-0123" not in message


def test_no_key() -> None:
    assert "It wants a key: set OPENAI_API_KEY." in refusal((), key="", api_key=KEY)


def test_the_key_is_named_as_the_user_named_it() -> None:
    async def scenario(url: str) -> None:
        gateway = make_gateway([MODEL], url, api_key_env="MY_KEY")
        async with running(gateway):
            await gateway.preflight(MODEL, [])

    with ModelServer(api_key=KEY) as server, pytest.raises(UserError, match="set MY_KEY"):
        asyncio.run(scenario(server.url))


def test_an_unknown_model_with_what_there_is_nearest_first() -> None:
    message = refusal([Status(404, "The model does not exist.")], models=["zzz", "test-model-2"])
    assert "HTTP 404: The model does not exist. It offers: test-model-2, zzz." in message


def test_an_unknown_model_among_many() -> None:
    message = refusal([Status(404)], models=[f"model-{n}" for n in range(14)])
    assert message.endswith(" and 4 more.")


def test_a_wrong_path() -> None:
    async def scenario() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")

        async with raw_server(serve) as url:
            await check(url)

    with pytest.raises(
        UserError, match=r"HTTP 404: not found\. Check the model's name\. Does --goat-api-url end in /v1"
    ):
        asyncio.run(scenario())


def test_no_tool_calling() -> None:
    message = refusal([Status(400, TOOLS_400)])
    assert "An agent needs tool calling" in message
    assert "--enable-auto-tool-choice --tool-call-parser NAME" in message
    assert "tool calling" in refusal([Status(404, "No endpoints found that support tool use.")])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Status(500, "Missing credentials."), "HTTP 500: Missing credentials. Look at the server's own log"),
        (
            Status(400, "temperature is wrong"),
            "HTTP 400: temperature is wrong. An agent's requests would end",
        ),
        (Raw(b"<html>", "text/html"), "no chat completion: '<html>'. Look at the server's own log."),
        (Raw(b"<html>", "application/json"), "no chat completion: '<html>'. Look at the server's own log."),
        (Status(308, "", {"Location": "https://x/"}), "HTTP 308"),
    ],
    ids=["500", "400", "page", "no JSON", "redirect"],
)
def test_other_answers(reply: Reply, words: str) -> None:
    assert words in refusal([reply])


@pytest.mark.parametrize("reply", [Hang(), Answer("abc", hang_after=1)])
def test_silence(reply: Reply) -> None:
    async def scenario(url: str) -> None:
        upstream = DirectUpstream(url, KEY)
        await upstream.start()
        try:
            await preflight.check(upstream, MODEL, deadline=0.1)
        finally:
            await upstream.stop()

    with ModelServer([reply]) as server, pytest.raises(UserError) as caught:
        asyncio.run(scenario(server.url))
    assert f"no answer within 0.1 s. If it is still starting, wait until {server.url}/models answers" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "url", ["", "localhost:8000/v1", "http://", "ftp://host/v1", "http://host:port/v1", "http://[/", "/v1"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UserError, match="--goat-api-url http://HOST:PORT/v1"):
        make_gateway([MODEL], url)


def test_a_password_in_the_address_is_refused_and_not_told() -> None:
    with pytest.raises(UserError, match="at host holds a password") as caught:
        make_gateway([MODEL], f"http://user:{KEY}@host/v1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("change", [str, lambda url: url + "/", lambda url: url + "?api-version=1"])
def test_addresses_as_people_write_them(change: Callable[[str], str]) -> None:
    async def scenario(url: str) -> None:
        async with agent_of(url) as agent:
            assert (await agent.call(request())).status == 200

    with ModelServer([Answer("a")]) as server:
        asyncio.run(scenario(change(server.url)))
        query = change("").strip("/")
    assert server.requests[0].path == f"/v1/chat/completions{query}"


@pytest.mark.parametrize(
    ("environ", "proxied"),
    [({"http_proxy": "{proxy}"}, True), ({"http_proxy": "{proxy}", "no_proxy": "model.invalid"}, False)],
)
def test_the_environments_proxy_is_used(
    environ: Mapping[str, str], proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def scenario() -> int:
        async with agent_of("http://model.invalid/v1") as agent:
            return (await agent.call(request())).status

    with ModelServer([Answer("a")]) as proxy:
        for name, value in environ.items():
            monkeypatch.setenv(name, value.format(proxy=proxy.url.removesuffix("/v1")))
        assert asyncio.run(scenario()) == (200 if proxied else 502)
        assert [sent.path for sent in proxy.requests] == [
            "http://model.invalid/v1/chat/completions"
        ] * proxied


def test_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with ModelServer([Answer("OK"), Answer("OK")]) as server:
        asyncio.run(check(server.url))
        asyncio.run(check(server.url.replace("127.0.0.1", "localhost")))

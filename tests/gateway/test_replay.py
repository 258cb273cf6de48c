"""Recorded answers, as an agent gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Seen, Usage
from tests.gateway.calls import Agent, Reply, agent_on, listen, request, running, trial_key

WRITE = {
    "text": "I write it.",
    "tools": [
        {"Write": {"file_path": "{workdir}/a.py", "content": "{} {workdir}", "n": [1, {"k": "{workdir}/b"}]}},
        {"Bash": {"command": "python a.py"}},
    ],
}  # fmt: skip
DONE = {"text": "Done.", "usage": {"prompt_tokens": 900, "completion_tokens": 40, "cached_tokens": 100}}


def record(suite: Path, *turns: Any, task_id: str = "task", folder: str = "replay") -> Path:
    (suite / folder).mkdir(parents=True, exist_ok=True)
    path = suite / folder / f"{task_id}.yaml"
    path.write_text(yaml.safe_dump({"turns": list(turns)}))
    return path


@asynccontextmanager
async def replaying(suite: Path | None, model: str = "replay", task_id: str = "task") -> AsyncIterator[Agent]:
    gateway = make_gateway([model])
    async with running(gateway), agent_on(gateway, trial_key(model, task_id, suite)) as agent:
        agent.endpoint.set_workdir("/job")
        yield agent


async def ask(agent: Agent, turn: int = 1, **more: Any) -> Reply:
    return await agent.call(request(turn=turn, **{"model": "replay", **more}))


def message(reply: Reply) -> dict[str, Any]:
    """The message of an answer, put together as clients do."""
    if "text/event-stream" not in reply.headers["Content-Type"]:
        return dict(reply.json["choices"][0]["message"])
    content = ""
    calls: dict[int, dict[str, Any]] = {}
    for delta in (choice["delta"] for chunk in reply.chunks for choice in chunk["choices"]):
        content += delta.get("content", "")
        for part in delta.get("tool_calls", ()):
            call = calls.setdefault(part["index"], {"function": {"arguments": ""}})
            call.update({key: part[key] for key in ("id", "type") if key in part})
            function = {**part["function"]}
            function["arguments"] = call["function"]["arguments"] + function["arguments"]
            call["function"].update(function)
    told = {"role": "assistant", "content": content or None}
    return {**told, "tool_calls": [calls[index] for index in sorted(calls)]} if calls else told


@pytest.mark.parametrize("stream", [True, False])
def test_a_turn_streamed_and_not(tmp_path: Path, stream: bool) -> None:
    record(tmp_path, WRITE, DONE)

    async def scenario() -> tuple[list[Reply], Seen]:
        async with replaying(tmp_path) as agent:
            replies = [await ask(agent, turn, stream=stream) for turn in (1, 2)]
            return replies, await agent.endpoint.seen()

    replies, seen = asyncio.run(scenario())
    first, last = map(message, replies)
    assert first["content"] == "I write it."
    assert [call["id"] for call in first["tool_calls"]] == ["call_1_1", "call_1_2"]
    write, bash = (call["function"] for call in first["tool_calls"])
    assert (write["name"], bash["name"]) == ("Write", "Bash")
    assert json.loads(write["arguments"]) == {
        "file_path": "/job/a.py",
        "content": "{} /job",
        "n": [1, {"k": "/job/b"}],
    }
    assert last == {"role": "assistant", "content": "Done."}
    assert [(call.finish_reason, call.tool_calls) for call in seen.calls] == [("tool_calls", 2), ("stop", 0)]
    assert [call.model_served for call in seen.calls] == ["replay"] * 2
    assert seen.calls[1].usage == Usage(900, 100, 40, 0, 0.0)


def test_a_stream_comes_in_pieces_with_usage_only_when_asked_for(tmp_path: Path) -> None:
    record(tmp_path, WRITE)

    async def scenario() -> list[Reply]:
        async with replaying(tmp_path) as agent:
            return [await ask(agent, usage=usage) for usage in (True, False)]

    asked, without = asyncio.run(scenario())
    assert len(asked.chunks) >= 8
    assert "usage" in asked.chunks[-1]
    assert asked.chunks[:-1] == without.chunks
    assert without.body.endswith(b"data: [DONE]\n\n")


def test_no_line_is_too_long_for_clients(tmp_path: Path) -> None:
    record(tmp_path, {"text": "\u0001" * 100_000, "tools": [{"Write": {"content": "ü" * 100_000}}]})

    async def scenario() -> Reply:
        async with replaying(tmp_path) as agent:
            return await ask(agent)

    reply = asyncio.run(scenario())
    assert max(map(len, reply.body.splitlines())) < 64 * 1024
    assert message(reply)["content"] == "\u0001" * 100_000


def test_usage_is_made_up_of_characters(tmp_path: Path) -> None:
    record(tmp_path, {"text": "12345", "tools": [{"Bash": {"a": "b"}}]})

    async def scenario() -> Usage:
        async with replaying(tmp_path) as agent:
            await ask(agent, stream=False)
            return (await agent.endpoint.seen()).usage

    usage = asyncio.run(scenario())
    body = json.dumps(request(stream=False, model="replay"), separators=(",", ":"))
    assert usage == Usage(-(-len(body) // 4), 0, -(-(5 + len('{"a": "b"}')) // 4), 0, 0.0)


def test_the_answer_depends_on_the_request_alone(tmp_path: Path) -> None:
    record(tmp_path, WRITE, {"error": {"status": 503, "message": "busy"}}, DONE)

    async def scenario() -> None:
        async with replaying(tmp_path) as agent:
            first, third = await ask(agent, 1), await ask(agent, 3)
            assert (await ask(agent, 1)).body == first.body
            for _ in range(2):
                reply = await ask(agent, 2)
                assert (reply.status, reply.message) == (503, "busy")
                assert (await agent.last()).cause is Cause.PROVIDER_ERROR
            assert (await ask(agent, 3)).body == third.body

    asyncio.run(scenario())


def test_finish_reasons_pass(tmp_path: Path) -> None:
    record(tmp_path, {"text": "half an ans", "finish_reason": "length"})

    async def scenario() -> str:
        async with replaying(tmp_path) as agent:
            await ask(agent)
            return (await agent.last()).finish_reason

    assert asyncio.run(scenario()) == "length"


@pytest.mark.parametrize("suite_given", [True, False])
def test_misses_are_errors_that_say_what_to_do(tmp_path: Path, suite_given: bool) -> None:
    path = record(tmp_path, DONE)

    async def scenario(turn: int, task_id: str) -> Reply:
        async with replaying(tmp_path if suite_given else None, f"replay:{path.parent}", task_id) as agent:
            reply = await ask(agent, turn, model=f"replay:{path.parent}")
            call = await agent.last()
            assert (reply.status, call.status, call.cause) == (400, 400, Cause.REPLAY_MISS)
            assert call.message == f"HTTP 400: {reply.message}"
            return reply

    beyond = asyncio.run(scenario(3, "task")).message
    assert f"task 'task' has 1 turns, and the agent asks for turn 3. Add it to {path}" in beyond
    assert f"there is no {path.parent / 'other.yaml'}" in asyncio.run(scenario(1, "other")).message
    assert "its id is no file name" in asyncio.run(scenario(1, "../task")).message


def test_a_wrong_recording_is_an_error_at_every_request(tmp_path: Path) -> None:
    path = record(tmp_path, {"txet": "a"})

    async def scenario() -> None:
        async with replaying(tmp_path) as agent:
            for _ in range(2):
                reply = await ask(agent)
                assert f"{path}:2: turns[0].txet: is no key" in reply.message
                assert (await agent.last()).cause is Cause.REPLAY_MISS

    asyncio.run(scenario())


def test_where_recordings_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, here = tmp_path / "suite", tmp_path / "here"
    for root, folder in (
        (suite, "replay"),
        (suite, "wrong"),
        (here, "replay"),
        (here, "wrong"),
        (here, "deep/er"),
    ):
        record(root, {"text": f"{root.name} {folder}"}, folder=folder)
    (here / "replay" / "task.json").write_text('{"turns": [{"text": "not me"}]}')
    monkeypatch.chdir(here)

    async def text(model: str, root: Path | None) -> str:
        async with replaying(root, model) as agent:
            return str(message(await ask(agent, model=model))["content"])

    looked: dict[tuple[str, Path | None], str] = {
        ("replay", suite): "suite replay",
        ("replay", None): "here replay",
        ("replay:wrong", suite): "suite wrong",
        ("replay:deep/er", suite): "here deep/er",
        (f"replay:{here / 'wrong'}", suite): "here wrong",
    }
    for (model, suite_root), expected in looked.items():
        assert asyncio.run(text(model, suite_root)) == expected


def preflight(suite: Path, *task_ids: str) -> None:
    async def scenario() -> None:
        gateway = make_gateway(["replay"])
        async with running(gateway):
            await gateway.preflight("replay", [trial_key("replay", task_id, suite) for task_id in task_ids])

    asyncio.run(scenario())


def test_preflight_passes_when_all_is_there(tmp_path: Path) -> None:
    record(tmp_path, DONE)
    preflight(tmp_path, "task", "task")


def test_preflight_lists_what_is_missing_and_what_is_wrong(tmp_path: Path) -> None:
    record(tmp_path, DONE)
    wrong = record(tmp_path, {"text": 1}, task_id="wrong")
    missing = [f"missing-{number}" for number in range(12)]
    with pytest.raises(UserError) as caught:
        preflight(tmp_path, "task", "wrong", *missing, *missing)
    text = str(caught.value)
    assert "cannot serve 13 of the tasks" in text
    assert f"{wrong}:2: turns[0].text: must be text" in text
    assert text.count("has no recording: there is no") == 9
    assert "... and 3 more" in text
    assert "--goat-model" in text


def test_many_trials_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    count = 200
    for number in range(count):
        record(
            tmp_path,
            {"tools": [{"Bash": {"n": number}}]},
            {"text": f"done {number}"},
            task_id=f"task-{number}",
        )

    async def one(gateway: Any, session: aiohttp.ClientSession, number: int) -> None:
        endpoint = gateway.open(trial_key("replay", f"task-{number}", tmp_path))
        endpoint.attach(listen(), True)
        agent = Agent(endpoint, session)
        calls = message(await ask(agent))["tool_calls"]
        assert json.loads(calls[0]["function"]["arguments"]) == {"n": number}
        assert message(await ask(agent, 2))["content"] == f"done {number}"
        seen = await endpoint.seen()
        assert (seen.turns, seen.usage) == (2, seen.calls[0].usage + seen.calls[1].usage)
        await endpoint.close()

    async def scenario() -> None:
        gateway = make_gateway(["replay"])
        async with (
            running(gateway),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            await asyncio.gather(*(one(gateway, session, number) for number in range(count)))

    asyncio.run(scenario())

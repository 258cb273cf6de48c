"""What the gateway hears of a trial, and the take that is made of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Seen, Usage
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.recording import EVERY, RecordingFile, Take, ToolCall, Turn
from pytest_goat.gateway.recording_text import to_yaml
from pytest_goat.gateway.scrub import Person
from pytest_goat.gateway.taking import NoTake, make_take
from pytest_goat.redact import Redactor
from tests.gateway.calls import MODEL, Agent, agent_on, request, running, trial_key
from tests.gateway.deployed import at, deployed, remote, remote_agent
from tests.gateway.providers import KEY
from tests.support import model_server
from tests.support.model_server import Answer, ModelServer, Raw, Reply, Status

USED = {
    "prompt_tokens": 900,
    "completion_tokens": 40,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
CALLS = [
    model_server.ToolCall("Write", {"file_path": "/job/a.py", "n": [1, {"k": "/job"}]}),
    model_server.ToolCall("Bash", '{"command": "cut'),
    model_server.ToolCall("Look", ""),
]


def heard(replies: Sequence[Reply], *requests: dict[str, Any], leave: bool = False) -> Seen:
    """What is seen of a trial that makes `requests`, and then one more that it does not wait for."""

    async def scenario() -> Seen:
        with ModelServer(list(replies)) as server:
            gateway = make_gateway([MODEL], server.url, KEY)
            key = dataclasses.replace(trial_key(), record=True)
            async with running(gateway), agent_on(gateway, key) as agent:
                agent.endpoint.set_workdir("/job")
                for content in requests:
                    await agent.call(content)
                if leave:
                    async with agent.open(request(turn=len(requests) + 1)) as response:
                        await response.content.readany()
                        return await agent.endpoint.seen()
                return await agent.endpoint.seen()

    return asyncio.run(scenario())


def take_of(seen: Seen, *, home: str = "/home/alice") -> Take:
    return make_take(
        seen.heard, Redactor(["canary-secret"]), Person(home, "alice", "host"), {"run-7": "run-id"}
    )


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_streamed_and_not(stream: bool) -> None:
    said = Answer("I write\n  it.", CALLS, reasoning="Let me see.", usage=USED, pieces=3)
    take = take_of(heard([said, Answer("Done.")], request(stream=stream), request(stream=stream, turn=2)))
    assert take == Take(
        (
            Turn(
                "I write\n  it.",
                (
                    ToolCall("Write", {"file_path": "{workdir}/a.py", "n": [1, {"k": "{workdir}"}]}),
                    ToolCall("Bash", raw='{"command": "cut'),
                    ToolCall("Look", {}),
                ),
                Usage(900, 100, 40, 7),
                "tool_calls",
                reasoning="Let me see.",
            ),
            Turn("Done.", usage=Usage(10, 0, 5)),
        )
    )


def test_only_what_the_agent_got_in_the_end_is_recorded() -> None:
    replies: list[Reply] = [Status(503), Answer("one"), Status(503), Answer("two")]
    seen = heard(replies, request(), request(), request(), request(turn=2))
    assert [turn.text for turn in take_of(seen).turns] == ["one", "two"]


def test_a_failure_that_stayed_is_recorded_with_its_cause(tmp_path: Path) -> None:
    error = {"error": {"message": "Too long for run-7.", "type": "x", "code": "context_length_exceeded"}}
    seen = heard([Answer("one"), Status(400, error)], request(), request(turn=2))
    take = take_of(seen)
    assert take.turns[1] == Turn(error=(400, "Too long for run-id. (x context_length_exceeded)"))
    assert seen.calls[1].cause is Cause.CONTEXT_OVERFLOW
    assert [call.cause for call in replayed(tmp_path, take, request(), request(turn=2)).calls] == [
        None,
        Cause.CONTEXT_OVERFLOW,
    ]


def test_a_failure_within_a_stream_is_a_status_in_the_recording() -> None:
    refused = Raw(b'data: {"error": {"message": "content policy", "type": "t"}}\n\n')
    malformed = Raw(b'data: {"error": {"message": "Failed.", "code": "tool_use_failed"}}\n\n')
    for reply, status in ((refused, 400), (malformed, 400), (Answer("ab", cut_after=1), 502)):
        (turn,) = take_of(heard([reply], request())).turns
        assert turn.error is not None
        assert turn.error[0] == status


def test_an_answer_that_the_agent_left_is_cut_at_its_length() -> None:
    endless = Answer("half an answer", [model_server.ToolCall("Bash", {"a": 1})], hang_after=2)
    seen = heard([Answer("one"), endless], request(), leave=True)
    assert seen.calls[-1].hung_up
    one, cut = take_of(seen).turns
    assert one.text == "one"
    assert (cut.finish_reason, cut.tools) == ("length", ())
    assert "half an answer".startswith(cut.text)


def test_requests_with_as_many_answers_are_told_apart() -> None:
    aside = request(messages=[{"role": "user", "content": "Make a title."}])
    take = take_of(heard([Answer("one"), Answer("title"), Answer("two")], request(), aside, request(turn=2)))
    assert [turn.text for turn in take.turns] == ["one", "title", "two"]
    assert [turn.asked.answers for turn in take.turns if turn.asked] == [0, 0, 1]


def test_places_that_the_model_writes_itself_stay_as_they_are(tmp_path: Path) -> None:
    text = "f'{workdir}/x' <workdir> {home} /job /home/alice/b canary-secret"
    take = take_of(heard([Answer(text)], request()))
    assert (take.workdir, take.home) == ("<workdir1>", "<home>")
    assert take.turns[0].text == "f'{workdir}/x' <workdir> {home} <workdir1> <home>/b [redacted]"
    again = replayed(tmp_path, take, request())
    assert again.heard[0].turn.text == text.replace("/home/alice", str(Path.home())).replace(
        "canary-secret", "[redacted]"
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"choices": [{"index": 1, "message": {}, "finish_reason": "stop"}]}, "several answers at once"),
        (
            {"choices": [{"message": {"function_call": {"name": "f"}}, "finish_reason": "stop"}]},
            "in the old way",
        ),
    ],
)
def test_what_a_recording_cannot_hold_is_said(said: dict[str, Any], problem: str) -> None:
    seen = heard([Raw(json.dumps(said).encode(), "application/json")], request(stream=False))
    with pytest.raises(NoTake, match=problem):
        take_of(seen)


def test_a_trial_that_asked_nothing_has_no_take() -> None:
    with pytest.raises(NoTake, match="no model was asked"):
        take_of(heard([]))


def test_nothing_is_kept_of_a_trial_that_is_not_recorded() -> None:
    async def scenario() -> Seen:
        with ModelServer([Answer("one")]) as server:
            gateway = make_gateway([MODEL], server.url, KEY)
            async with running(gateway), agent_on(gateway, trial_key()) as agent:
                await agent.call(request())
                return await agent.endpoint.seen()

    seen = asyncio.run(scenario())
    assert (seen.turns, seen.heard) == (1, ())


def replayed(folder: Path, take: Take, *requests: dict[str, Any]) -> Seen:
    """What is seen of a trial that gets the turns of `take`."""
    (folder / "task.yaml").write_text(to_yaml(RecordingFile({EVERY: take})))
    model = f"replay:{folder}"

    async def scenario() -> Seen:
        gateway = make_gateway([model])
        key = dataclasses.replace(trial_key(model), record=True)
        async with running(gateway), agent_on(gateway, key) as agent:
            agent.endpoint.set_workdir("/job")
            for content in requests:
                await agent.call({**content, "model": model})
            return await agent.endpoint.seen()

    return asyncio.run(scenario())


def test_a_deployed_gateway_keeps_the_same_for_the_host() -> None:
    long = Status(400, "prompt is too long")
    replies: list[Reply] = [Status(503), Answer("one", CALLS, usage=USED), long, Answer("summary")]
    aside = request(messages=[{"role": "user", "content": "Sum up."}])
    requests = [request(), request(), request(turn=2), aside]

    async def scenario(record: bool) -> Seen:
        with ModelServer(list(replies)) as server:
            key = dataclasses.replace(trial_key(), record=record)
            async with (
                deployed(lambda: DirectUpstream(server.url, KEY), containers=2) as deployment,
                remote(deployment.url) as gateway,
                remote_agent(gateway, key) as agent,
            ):
                other = Agent(at(agent.endpoint, deployment.containers[1]), agent.session)  # type: ignore[arg-type]
                for number, content in enumerate(requests):
                    await (other if number % 2 else agent).call(content)
                return await agent.endpoint.seen()

    take = take_of(asyncio.run(scenario(True)))
    assert take == take_of(heard(replies, *requests))
    assert [turn.text or turn.error for turn in take.turns] == [
        "one",
        (400, "prompt is too long (scripted 400)"),
        "summary",
    ]
    assert asyncio.run(scenario(False)).heard == ()


def test_a_deployed_gateway_serves_each_epoch_its_take(tmp_path: Path) -> None:
    said = {epoch: Take((Turn(f"take {epoch}"),)) for epoch in (1, 3)}
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "task.yaml").write_text(to_yaml(RecordingFile(said)))

    async def scenario() -> list[str]:
        texts = []
        async with deployed() as deployment, remote(deployment.url) as gateway:
            keys = [
                dataclasses.replace(trial_key("replay", suite_root=tmp_path), epoch=epoch)
                for epoch in (1, 2, 3)
            ]
            with pytest.raises(UserError, match=r"no take for epoch 2: .* has takes for 1, 3"):
                await gateway.preflight("replay", keys)
            for key in (keys[0], keys[2]):
                await gateway.preflight("replay", [key])
                async with remote_agent(gateway, key) as agent:
                    reply = await agent.call(request(model="replay", stream=False))
                    texts.append(reply.body.decode())
        return texts

    first, third = asyncio.run(scenario())
    assert '"take 1"' in first
    assert '"take 3"' in third

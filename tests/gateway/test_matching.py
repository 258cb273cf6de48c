"""Which recorded turn a request gets where agents ask beside their main conversation."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.fingerprint import fingerprint
from pytest_goat.gateway.recording import EVERY, RecordingFile, Take, Turn
from pytest_goat.gateway.recording_text import to_yaml
from tests.gateway.calls import Reply, agent_on, running, trial_key

SYSTEM = "You are an engineer.\n# Environment\n- Directory: /workspace\n- Date: 2026-11-24\n"
BASH = {"type": "function", "function": {"name": "Bash", "parameters": {}}}
OUTPUT = "at Tue Nov 24 07:59:45 UTC 2026\n-rw-r--r-- /workspace/a.py\npid 4711, id 5f2a90c1d3\n3 ok in 0.02s"


def asks(*, answers: int = 0, last: str = OUTPUT, **more: Any) -> dict[str, Any]:
    """A request of the main conversation."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "Write a.py."},
    ]
    for _ in range(answers):
        messages += [{"role": "assistant", "content": "ls"}, {"role": "tool", "content": "ok"}]
    if answers:
        messages[-1]["content"] = last
    return {"model": "replay", "messages": messages, "tools": [BASH], **more}


def summarize(answers: int) -> dict[str, Any]:
    """The same conversation, with a question of the agent's own at its end."""
    content = asks(answers=answers)
    content["messages"].append({"role": "user", "content": "Sum up what was done."})
    return content


def title() -> dict[str, Any]:
    messages = [{"role": "system", "content": "Make a title."}, {"role": "user", "content": "Write a.py."}]
    return {"model": "replay", "messages": messages}


DRIFTED = {
    "time, path, ids": (
        OUTPUT.replace("07:59:45", "23:00:01").replace("4711", "9").replace("5f2a90c1d3", "00aa11bb22"),
        "/box/other/workspace",
    ),
    "month": (OUTPUT.replace("Tue Nov 24", "Sat Jan  2"), "/workspace"),
    "as it was": (OUTPUT, "/workspace"),
}


@pytest.mark.parametrize(("output", "workdir"), DRIFTED.values(), ids=DRIFTED.keys())
def test_a_fingerprint_stays_the_same_in_another_run(output: str, workdir: str) -> None:
    def moved(text: str) -> str:
        return text.replace("/workspace", workdir)

    content = asks(answers=2, last=moved(output))
    content["messages"][0]["content"] = moved(SYSTEM.replace("2026-11-24", "2027-01-02"))
    assert fingerprint(content) == fingerprint(asks(answers=2))


def test_fingerprints_tell_requests_apart() -> None:
    several = [asks(), asks(answers=1), asks(answers=1, last="no such file"), summarize(1), title()]
    prints = {fingerprint(content) for content in several}
    assert len(prints) == len(several)
    assert [fingerprint(content).answers for content in several] == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("content", [{}, {"messages": 1}, {"messages": [1, {"role": 2, "content": [3]}]}])
def test_any_request_has_one(content: dict[str, Any]) -> None:
    assert fingerprint(content).answers == 0


def served(folder: Path, turns: list[tuple[dict[str, Any], str]], *requests: dict[str, Any]) -> list[str]:
    """What `requests` of one trial get from a recording of (request, answer)."""
    take = Take(tuple(Turn(text, asked=fingerprint(content)) for content, text in turns))
    (folder / "replay").mkdir(exist_ok=True)
    (folder / "replay" / "task.yaml").write_text(to_yaml(RecordingFile({EVERY: take})))

    def text(reply: Reply) -> str:
        told = reply.json
        return str(told["choices"][0]["message"]["content"] if reply.status == 200 else reply.message)

    async def scenario() -> list[str]:
        gateway = make_gateway(["replay"])
        key = dataclasses.replace(trial_key("replay"), suite_root=folder)
        async with running(gateway), agent_on(gateway, key) as agent:
            agent.endpoint.set_workdir("/workspace")
            return [text(await agent.call(content)) for content in requests]

    return asyncio.run(scenario())


SEVERAL = [(asks(), "main 1"), (title(), "title"), (asks(answers=1), "main 2"), (summarize(1), "summary")]


def test_side_calls_get_their_own_answers_in_any_order(tmp_path: Path) -> None:
    wanted = [summarize(1), asks(answers=1), title(), asks(), title()]
    assert served(tmp_path, SEVERAL, *wanted) == ["summary", "main 2", "title", "main 1", "title"]


def test_words_of_a_tool_and_of_the_system_prompt_may_drift(tmp_path: Path) -> None:
    other_tool = asks(answers=1, last="quite another output")
    other_opening = summarize(1)
    other_opening["messages"][0]["content"] = "You are a careful engineer."
    assert served(tmp_path, SEVERAL, other_tool, other_opening) == ["main 2", "summary"]


def test_what_fits_none_or_several_is_an_error(tmp_path: Path) -> None:
    stranger = {"model": "replay", "messages": [{"role": "user", "content": "Who are you?"}]}
    twice = [(asks(answers=1, last="one"), "a"), (asks(answers=1, last="two"), "b")]
    (none,) = served(tmp_path, SEVERAL, stranger)
    assert "asks for turn 1 of a conversation that is none of them" in none
    (several,) = served(tmp_path, twice, asks(answers=1, last="three"))
    assert "2 answers for turn 2, and which is meant cannot be told" in several


def test_what_was_asked_several_times_is_answered_in_order(tmp_path: Path) -> None:
    turns = [(asks(), "first"), (asks(), "second"), (title(), "title")]
    *given, beyond = served(tmp_path, turns, asks(), title(), asks(), title(), asks())
    assert given == ["first", "title", "second", "title"]
    assert "that the agent makes once more" in beyond
    assert served(tmp_path, turns, asks()) == ["first"]

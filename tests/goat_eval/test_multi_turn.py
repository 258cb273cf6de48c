"""-multi-turn: one prompt a line, an answer and a line of numbers for each."""

from __future__ import annotations

import pytest

from tests.support.agent_run import AgentRunner
from tests.support.model_server import Answer, Status, ToolCall

ECHO = ToolCall("Bash", {"command": "echo hello"})


def test_follow_ups(agent: AgentRunner) -> None:
    script = [Answer("one"), Answer("w", tools=[ECHO]), Answer("two"), Answer("three")]
    ran = agent.run(script, "-multi-turn", prompt="", stdin=b"first\nsecond\r\nthird\n\nnever\n")
    assert (ran.code, ran.stdout) == (0, "one\ntwo\nthree\n")
    assert ran.stderr.splitlines() == [
        '{"turn":1,"cost_usd":0.000000}',
        '{"turn":3,"cost_usd":0.000000}',
        '{"turn":4,"cost_usd":0.000000}',
    ]
    users = [m["content"] for m in ran.requests[-1].json["messages"] if m["role"] == "user"]
    assert users == ["first", "second", "third"]
    assert ran.result["status"] == "completed"
    assert [event["text"] for event in ran.events if event["type"] == "user"] == ["second", "third"]


def test_the_first_prompt_by_flag(agent: AgentRunner) -> None:
    ran = agent.run([Answer("one"), Answer("two")], "-multi-turn", prompt="first", stdin=b"second\n")
    assert ran.stdout == "one\ntwo\n"


def test_long_lines(agent: AgentRunner) -> None:
    ran = agent.run([Answer("one")], "-multi-turn", prompt="", stdin=b"x" * 200_000 + b"\n")
    assert len(ran.requests[0].json["messages"][1]["content"]) == 200_000


def test_no_prompt(agent: AgentRunner) -> None:
    ran = agent.run([], "-multi-turn", prompt="", stdin=b"\n")
    assert (ran.code, ran.stderr[:27]) == (1, "error: no prompt provided (")


def test_an_empty_answer_prints_no_line(agent: AgentRunner) -> None:
    ran = agent.run([Answer(""), Answer("two")], "-multi-turn", prompt="first", stdin=b"second\n")
    assert ran.stdout == "two\n"
    assert ran.stderr.startswith('{"turn":1,')


def test_turns_are_counted_over_the_whole_session(agent: AgentRunner) -> None:
    flags = ("-multi-turn", "-max-turns", "2")
    ran = agent.run([Answer("one"), Answer("two")], *flags, prompt="a", stdin=b"b\nc\n")
    assert (ran.code, ran.stdout, ran.result["status"]) == (0, "one\ntwo\n", "max_turns")


@pytest.mark.parametrize(
    ("end", "stdout"), [(Status(400), "one\n"), (Answer("half", finish="length"), "one\nhalf")]
)
def test_what_ends_it(agent: AgentRunner, end: Answer | Status, stdout: str) -> None:
    ran = agent.run([Answer("one"), end], "-multi-turn", prompt="a", stdin=b"b\nc\n")
    assert (ran.code, ran.stdout) == (0, stdout)

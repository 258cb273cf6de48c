"""Agents that an adapter file describes: the command that is made, and what is read of the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.agent.adapter import ARGV_MAX, BIN, Adapter
from pytest_goat.agent.adapter_file import read_adapter
from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import Usage
from pytest_goat.sandbox.base import File
from pytest_goat.task import Limits
from tests.support.trials import ended, make_input


def adapter(folder: Path, **keys: Any) -> Adapter:
    path = folder / "my-agent.json"
    path.write_text(json.dumps({"argv": ["my-agent"], **keys}))
    return Adapter(read_adapter(path))


def test_placeholders_are_filled(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    agent = adapter(
        tmp_path,
        program="run.sh",
        argv=["{program}", "--in={workdir}", "{outdir}", "{model}:{max_turns}", "{timeout}", "{unknown}"],
        env={"URL": "{base_url}", "KEY": "{api_key}", "N": 3},
    )
    command = agent.command(make_input(limits=Limits(max_turns=7, timeout=2.5)))
    assert command.argv == (
        f"{BIN}/run.sh", "--in=/box/work", "/box/out", "test-model:7", "2.5", "{unknown}"
    )  # fmt: skip
    assert command.env == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8000/v1",
        "OPENAI_API_KEY": "trial-token",
        "EVAL_MODEL": "test-model",
        "NO_PROXY": "*",
        "URL": "http://127.0.0.1:8000/v1",
        "KEY": "trial-token",
        "N": "3",
    }
    assert [(mount.source, mount.target) for mount in agent.mounts] == [
        (str(tmp_path / "run.sh"), f"{BIN}/run.sh")
    ]


def test_the_prompt_is_never_taken_for_a_template(tmp_path: Path) -> None:
    agent = adapter(tmp_path, argv=["my-agent", "-p={prompt}"], prompt="argv")
    command = agent.command(make_input(prompt="Say {model} and {prompt}."))
    assert command.argv == ("my-agent", "-p=Say {model} and {prompt}.")
    assert (command.stdin, command.files) == (b"", {})


def test_the_prompt_goes_by_stdin_or_as_a_file(tmp_path: Path) -> None:
    by_stdin = adapter(tmp_path).command(make_input(prompt="caf\u00e9"))
    assert (by_stdin.stdin, by_stdin.files) == ("caf\u00e9".encode(), {})
    as_file = adapter(tmp_path, argv=["my-agent", "{prompt_file}"], prompt="file").command(make_input())
    assert (as_file.argv[1], as_file.stdin) == ("/box/out/prompt.txt", b"")
    assert as_file.files == {"prompt.txt": File(b"Do it.")}


def test_a_prompt_too_long_for_the_kernel_is_refused(tmp_path: Path) -> None:
    agent = adapter(tmp_path, argv=["my-agent", "{prompt}"], prompt="argv")
    agent.command(make_input(prompt="x" * ARGV_MAX))
    with pytest.raises(UserError, match=r"the prompt of hello is too long.*\n.*prompt: stdin"):
        agent.command(make_input(prompt="\u00e9" * (ARGV_MAX // 2 + 1)))


STDOUT = b"""log line
{"type": "text", "result": {"text": "first"}}
{"type": "text", "result": {"text": "last"}}
{"type": "end", "items": [{"n": 1}, {"n": 2}]}
"""


@pytest.mark.parametrize(
    ("where", "stdout", "answer"),
    [
        ({}, b"as it is\n", "as it is\n"),
        ({"format": "json", "at": "a.b"}, b'{"a": {"b": "found"}}', "found"),
        ({"format": "json", "at": "a.b"}, b'{"a": ["b"]}', ""),
        ({"format": "json", "at": "a.b"}, b"no json", ""),
        ({"format": "json", "at": "a"}, b'{"a": {"b": 1}}', '{"b": 1}'),
        ({"format": "jsonl", "at": "result.text"}, STDOUT, "last"),
        ({"format": "jsonl", "at": "items.-1.n"}, STDOUT, "2"),
        ({"format": "jsonl", "at": "items.2.n"}, STDOUT, ""),
        ({"from": "stderr"}, b"noise", "on stderr"),
        ({"from": "answer.txt"}, b"noise", "in a file"),
        ({"from": "gone.txt"}, b"noise", ""),
    ],
)
def test_the_answer_is_where_the_file_says(
    tmp_path: Path, where: dict[str, str], stdout: bytes, answer: str
) -> None:
    result = ended(stdout=stdout, stderr=b"on stderr")
    files = {"answer.txt": File(b"in a file")}
    outcome = adapter(tmp_path, answer=where).outcome(make_input(), result, files)
    assert outcome.answer == answer
    assert (outcome.completed, outcome.cause) == ((True, None) if answer else (False, Cause.NO_ANSWER))
    assert outcome.usage is None


def test_an_answer_of_one_that_crashed_is_kept(tmp_path: Path) -> None:
    outcome = adapter(tmp_path).outcome(make_input(), ended(1, b"half"), {})
    assert (outcome.answer, outcome.completed, outcome.cause) == ("half", False, Cause.AGENT_CRASHED)


def test_usage_is_summed_over_lines(tmp_path: Path) -> None:
    lines = [
        {"usage": {"input": 10, "output": 5, "usd": 0.25}},
        {"usage": {"input": 7, "output": -1, "usd": 0.5}},
        {"usage": {"input": True, "output": "many", "usd": None}},
        {"other": 1},
    ]
    usage = {
        "from": "log.jsonl",
        "format": "jsonl",
        "prompt_tokens": "usage.input",
        "completion_tokens": "usage.output",
        "cost": "usage.usd",
    }
    files = {"log.jsonl": File("\n".join(map(json.dumps, lines)).encode())}
    outcome = adapter(tmp_path, usage=usage).outcome(make_input(), ended(stdout=b"Done."), files)
    assert outcome.usage == Usage(prompt_tokens=17, completion_tokens=5, cost=0.75)


def test_name_and_version(tmp_path: Path) -> None:
    one, other = adapter(tmp_path), adapter(tmp_path, name="other")
    assert (one.name, other.name) == ("my-agent", "other")
    assert one.version != other.version


def test_a_program_must_be_executable(tmp_path: Path) -> None:
    program = tmp_path / "run.sh"
    program.write_text("#!/bin/sh\n")
    agent = adapter(tmp_path, program="run.sh", argv=["{program}"])
    with pytest.raises(UserError, match="chmod"):
        agent.check()
    program.chmod(0o755)
    agent.check()
    adapter(tmp_path).check()

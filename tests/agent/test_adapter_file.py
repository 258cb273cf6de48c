"""Adapter files: what is taken, and what is said of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.agent.adapter import Spec, Where
from pytest_goat.agent.adapter_file import read_adapter
from pytest_goat.errors import UserError

GOOD = """\
name: my-agent
program: ./bin/agent
argv: ["{program}", --model, "{model}", --task-file, "{prompt_file}"]
prompt: file
env: {MY_AGENT_URL: "{base_url}"}
answer: {from: stdout, format: json, at: result.text}
usage: {format: jsonl, prompt_tokens: usage.input, completion_tokens: usage.output}
"""


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(GOOD)
    program = tmp_path / "bin" / "agent"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    assert read_adapter(path) == Spec(
        path=path,
        name="my-agent",
        argv=("{program}", "--model", "{model}", "--task-file", "{prompt_file}"),
        prompt="file",
        program=program,
        env={"MY_AGENT_URL": "{base_url}"},
        answer=Where("stdout", "json", "result.text"),
        usage=Where("stdout", "jsonl"),
        tokens={"prompt_tokens": "usage.input", "completion_tokens": "usage.output"},
    )


def test_the_smallest_file(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text('{"argv": ["agent"]}')
    assert read_adapter(path) == Spec(path=path, name="small", argv=("agent",))


def test_a_path_is_looked_up_in_json_unless_said_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text('{"argv": ["agent"], "answer": {"at": "text"}}')
    assert read_adapter(path).answer == Where("stdout", "json", "text")


WRONG: dict[str, tuple[Any, str]] = {
    "no mapping": (["agent"], "is a mapping with the keys name, program, argv"),
    "no argv": ({}, "argv: must be a list of words"),
    "argv as text": ({"argv": "agent --fast"}, "argv: must be a list of words"),
    "argv with a number": ({"argv": ["agent", 3]}, "argv: must be a list of words"),
    "misspelt": ({"argv": ["agent"], "promt": "argv"}, "promt: unknown key; did you mean prompt?"),
    "unknown": ({"argv": ["agent"], "xyz": 1}, "xyz: unknown key; known are name, program"),
    "unknown below": ({"argv": ["agent"], "answer": {"form": "text"}}, "answer.form: unknown key; did you"),
    "channel": ({"argv": ["agent"], "prompt": "pipe"}, "prompt: must be one of argv, stdin, file"),
    "argv without prompt": ({"argv": ["agent"], "prompt": "argv"}, "{prompt} in argv and `prompt: argv`"),
    "prompt without argv": ({"argv": ["agent", "{prompt}"]}, "{prompt} in argv and `prompt: argv`"),
    "file without it": ({"argv": ["agent"], "prompt": "file"}, "{prompt_file} in argv and `prompt: file`"),
    "program": ({"argv": ["agent"], "program": "gone"}, "gone is not there (the path is relative"),
    "env": ({"argv": ["agent"], "env": ["A=1"]}, "env: must be a mapping of names to texts"),
    "env deeper": ({"argv": ["agent"], "env": {"A": {}}}, "env: must be a mapping of names to texts"),
    "answer": ({"argv": ["agent"], "answer": "stdout"}, "answer: must be a mapping, as in"),
    "format": ({"argv": ["agent"], "answer": {"format": "xml"}}, "answer.format: must be one of text, json"),
    "path in text": (
        {"argv": ["agent"], "usage": {"format": "text", "cost": "usd"}},
        "usage.cost: a path needs `format: json`",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(tmp_path: Path, name: str) -> None:
    content, words = WRONG[name]
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read_adapter(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["agent.json", "agent.yaml"])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match="cannot read"):
        read_adapter(path)
    path.write_bytes(b"{argv: [")
    with pytest.raises(UserError, match="not readable"):
        read_adapter(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not readable"):
        read_adapter(path)

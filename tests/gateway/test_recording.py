"""Recordings as they are written: what is read, and what is said of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_goat.errors import TaskError
from pytest_goat.gateway.base import Usage
from pytest_goat.gateway.recording import EVERY, Take, ToolCall, Turn, read_recording

GOOD = """\
turns:
  - text: I write it.
    tools:
      - Write: {file_path: "{workdir}/a.py", content: "print(1)"}
      - Bash:
          command: |
            python a.py
      - Look:
    usage: {prompt_tokens: 900, completion_tokens: 40, cached_tokens: 3, reasoning_tokens: 2}
  - tools: [{Bash: {command: ls}}]
    finish_reason: stop
  - error: {status: 429, message: slow down}
  - text: Done.
"""
TURNS = (
    Turn(
        text="I write it.",
        tools=(
            ToolCall("Write", {"file_path": "{workdir}/a.py", "content": "print(1)"}),
            ToolCall("Bash", {"command": "python a.py\n"}),
            ToolCall("Look", {}),
        ),
        usage=Usage(900, 3, 40, 2),
        finish_reason="tool_calls",
    ),
    Turn(tools=(ToolCall("Bash", {"command": "ls"}),)),
    Turn(error=(429, "slow down")),
    Turn(text="Done."),
)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_recording_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"task.{suffix}"
    path.write_text(GOOD if suffix == "yaml" else json.dumps(yaml.safe_load(GOOD)))
    assert read_recording(path).takes == {EVERY: Take(TURNS)}


WRONG: dict[str, tuple[str, int, str, str]] = {
    "empty": ("", 1, "", "must be a mapping"),
    "list": ("- text: a\n", 1, "", "must be a mapping"),
    "no turns": ("turns: []\n", 1, "turns", "list of at least one turn"),
    "none given": ("{}", 1, "turns", "list of at least one turn"),
    "key at the top": ("turns: [{text: a}]\nmodel: x\n", 2, "model", "Known here: turns"),
    "turn is text": ("turns:\n  - hello\n", 2, "turns[0]", "must be a mapping"),
    "near miss": ("turns:\n  - text: a\n  - txet: a\n", 3, "turns[1].txet", "Did you mean `text`?"),
    "nothing said": ("turns:\n  - text: a\n  - {usage: {}}\n", 3, "turns[1]", "says nothing"),
    "text is a number": ("turns:\n  - text: 42\n", 2, "turns[0].text", "must be text"),
    "tools is a mapping": ("turns:\n  - tools: {Bash: {}}\n", 2, "turns[0].tools", "must be a list"),
    "two tools in one": (
        "turns:\n  - tools:\n    - Bash: {}\n    - {Bash: {}, Read: {}}\n",
        4,
        "turns[0].tools[1]",
        "one tool with its arguments",
    ),
    "arguments are text": (
        "turns:\n- tools:\n  - Bash: ls\n",
        3,
        "turns[0].tools[0].Bash",
        "mapping of arguments",
    ),
    "a date": (
        "turns:\n- tools:\n  - Bash:\n      a: [1, 2024-01-01]\n",
        4,
        "turns[0].tools[0].Bash.a[1]",
        "no JSON value",
    ),
    "not a number": (
        "turns:\n- tools:\n  - Bash: {a: .nan}\n",
        3,
        "turns[0].tools[0].Bash.a",
        "no JSON value",
    ),
    "a key that is no text": (
        "turns:\n- tools:\n  - Bash: {1: a}\n",
        3,
        "turns[0].tools[0].Bash[1]",
        "in quotes",
    ),
    "usage": (
        "turns:\n- text: a\n  usage: {prompt_tokens: -1}\n",
        3,
        "turns[0].usage.prompt_tokens",
        "whole number",
    ),
    "cost": (
        "turns:\n- text: a\n  usage: {cost: 1}\n",
        3,
        "turns[0].usage.cost",
        "Known here: prompt_tokens",
    ),
    "reason": ("turns:\n- text: a\n  finish_reason: 1\n", 3, "turns[0].finish_reason", "must be text"),
    "error and text": ("turns:\n- error: {status: 429}\n  text: a\n", 2, "turns[0]", "stands alone"),
    "error is text": ("turns:\n- error: oh\n", 2, "turns[0].error", "must be a mapping"),
    "status": ("turns:\n- error: {status: 200}\n", 2, "turns[0].error.status", "from 400 to 599"),
    "no YAML": ("turns:\n  - text: 'a\n", 3, "", "is not YAML"),
    "no such tag": ("turns: !!python/object:os.system {}\n", 1, "", "is not YAML"),
    "contains itself": ("turns:\n- tools:\n  - Bash: &a {x: *a}\n", 0, "", "contains itself"),
}


@pytest.mark.parametrize(("text", "line", "field", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, text: str, line: int, field: str, words: str
) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(text)
    with pytest.raises(TaskError) as caught:
        read_recording(path)
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(path), line, field)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ('{\n "turns": [\n  {"text": 1}\n ]\n}', 3, "turns[0].text", "must be text"),
        ('{\n "turns": [', 2, "", "is not JSON"),
        ('{"turns": "\x7f"}', 0, "turns", "list of at least one turn"),
        ("[" * 100_000, 0, "", "nested too deeply"),
    ],
    ids=["field", "syntax", "no YAML", "deep"],
)
def test_json_too(tmp_path: Path, text: str, line: int, field: str, words: str) -> None:
    path = tmp_path / "task.json"
    path.write_text(text)
    with pytest.raises(TaskError, match=words) as caught:
        read_recording(path)
    assert (caught.value.line, caught.value.field) == (line, field)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(TaskError, match=words):
            read_recording(path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"turns: [{text: \xe9}]")
    with pytest.raises(TaskError, match="not UTF-8"):
        read_recording(latin)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, len(GOOD)), st.integers(0, 20), st.text("ab:-[]{}'\"#&*!|>%@`\n\t 0.\0\x85ü", max_size=8)
)
def test_a_mangled_recording_is_read_or_refused(tmp_path: Path, at: int, cut: int, put: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(GOOD[:at] + put + GOOD[at + cut :], encoding="utf-8")
    turns: tuple[Turn, ...] = ()
    problem = ""
    try:
        turns = read_recording(path).takes[EVERY].turns
    except TaskError as error:
        problem = str(error)
    assert turns or problem.startswith(str(path))
    json.dumps([[dict(tool.arguments) for tool in turn.tools] for turn in turns], allow_nan=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(["yaml", "json"]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"task.{suffix}"
    path.write_bytes(data)
    with pytest.raises(TaskError):
        read_recording(path)

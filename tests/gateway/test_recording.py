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
from pytest_goat.gateway.recording import (
    EVERY,
    Asked,
    RecordingFile,
    Take,
    ToolCall,
    Turn,
    read_recording,
    take_of,
)
from pytest_goat.gateway.recording_text import content_of, to_yaml

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
    "key at the top": ("turns: [{text: a}]\nmodel: x\n", 2, "model", "Known here: turns, takes"),
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
    "takes is empty": ("takes: []\n", 1, "takes", "at least one take"),
    "take without turns": ("takes:\n- epoch: 1\n", 2, "takes[0].turns", "at least one turn"),
    "no epoch": ("takes:\n- turns: [{text: a}]\n", 2, "takes[0].epoch", "1 or more"),
    "epoch 0": ("takes:\n- {epoch: 0, turns: [{text: a}]}\n", 2, "takes[0].epoch", "1 or more"),
    "epoch twice": (
        "takes:\n- {epoch: 1, turns: [{text: a}]}\n- {epoch: 1, turns: [{text: b}]}\n",
        3,
        "takes[1].epoch",
        "has a take already",
    ),
    "takes and turns": (
        "takes: [{epoch: 1, turns: [{text: a}]}]\nturns: [{text: a}]\n",
        2,
        "turns",
        "beside `takes`",
    ),
    "a turn of a take": (
        "takes:\n- epoch: 1\n  turns:\n  - txet: a\n",
        4,
        "takes[0].turns[0].txet",
        "Did you mean `text`?",
    ),
    "no workspace": ('turns: [{text: a}]\nworkdir: ""\n', 2, "workdir", "must not be empty"),
    "recorded is text": ("turns: [{text: a}]\nrecorded: today\n", 2, "recorded", "must be a mapping"),
    "asked of some": (
        "turns:\n- text: a\n- {text: b, asked: {answers: 0, opening: x, last: y}}\n",
        3,
        "turns[1]",
        "differs from the first",
    ),
    "asked without number": (
        "turns:\n- text: a\n  asked: {opening: x, last: y}\n",
        3,
        "turns[0].asked.answers",
        "0 or more",
    ),
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


NASTY = st.text("ab \n\t-#:'\"{}[]|>%@!&*?,\r\x85\u2028\ufeff0", max_size=25)
TEXT = NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=25)
WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=6,
)
TOOL = st.builds(ToolCall, TEXT, st.dictionaries(TEXT, JSON, max_size=2)) | st.builds(
    ToolCall, TEXT, st.just({}), WORD
)
ASKED = st.builds(Asked, st.integers(0, 99), WORD, WORD)


@st.composite
def takes(draw: st.DrawFn) -> Take:
    asked = draw(st.booleans())
    fields = {"asked": ASKED if asked else st.none()}
    said = st.builds(
        Turn,
        text=TEXT,
        reasoning=TEXT,
        tools=st.lists(TOOL, max_size=2).map(tuple),
        finish_reason=WORD,
        usage=st.none() | st.just(Usage(1, 2, 3, 4)),
        **fields,
    )
    failed = st.builds(Turn, error=st.tuples(st.integers(400, 599), TEXT), **fields)
    turns = draw(st.lists(said | failed, min_size=1, max_size=3))
    return Take(tuple(turns), draw(st.just("{workdir}") | WORD), draw(st.just("") | WORD))


FILES = st.builds(
    RecordingFile,
    takes().map(lambda take: {EVERY: take})
    | st.dictionaries(st.integers(1, 9), takes(), min_size=1, max_size=2),
    st.dictionaries(WORD, TEXT, max_size=2),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FILES)
def test_what_is_written_is_read_as_it_was(tmp_path: Path, file: RecordingFile) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(to_yaml(file), encoding="utf-8", newline="")
    assert read_recording(path) == file
    for take in file.takes.values():
        assert take_of(json.loads(json.dumps(content_of(take))), "sent") == take


PLEASANT = """\
recorded: {model: gpt-5-mini}
takes:
  - epoch: 1
    turns:
      - text: I'll write it.
        tools:
          - Write:
              file_path: '{workdir}/main.go'
              content: |
                func main() {
                \tprintln("hi")

                }
          - Bash: {command: go run ., timeout: 5}
        usage: {prompt_tokens: 900, completion_tokens: 40}
  - epoch: 3
    workdir: <workdir>
    turns:
      - text: Done, as {workdir} says.
"""


def test_it_is_written_to_be_read_by_people() -> None:
    code = 'func main() {\n\tprintln("hi")\n\n}\n'
    tools = (
        ToolCall("Write", {"file_path": "{workdir}/main.go", "content": code}),
        ToolCall("Bash", {"command": "go run .", "timeout": 5}),
    )
    first = Take((Turn("I'll write it.", tools, Usage(900, 0, 40), "tool_calls"),))
    third = Take((Turn("Done, as {workdir} says."),), "<workdir>")
    assert to_yaml(RecordingFile({3: third, 1: first}, {"model": "gpt-5-mini"})) == PLEASANT

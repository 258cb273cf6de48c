"""The quick way of reading JSON gives what the exact way gives: tasks, lines, warnings and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.collect import FileErrors, tasks
from pytest_goat.collect.json_text import read_json, read_jsonl
from pytest_goat.collect.problems import Inexact, Problems, Wrong
from pytest_goat.task import Task
from tests.collect.test_properties import EXAMPLE, odd_values, steady
from tests.collect.test_properties import tasks as good_tasks
from tests.support.prompts import Prompts

SUFFIXES = (".json", ".jsonl")


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    prompts = Prompts(tmp_path)
    prompts.write("work/a.txt", "a")
    return prompts


def outcome(prompts: Prompts, name: str, content: str) -> tuple[list[Task], list[Any], str]:
    """What came of reading: the tasks, the warnings, the errors."""
    prompts.warnings.clear()
    try:
        found, error = prompts.read(name, content), ""
    except FileErrors as errors:
        found, error = [], repr([str(one) for one in errors.errors])
    return found, list(prompts.warnings), error


def check_same(prompts: Prompts, name: str, content: str) -> None:
    quick = outcome(prompts, name, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "Problems", lambda path, quick=False: Problems(path))
        exact = outcome(prompts, name, content)
    assert quick == exact


def mangle(content: str, edits: list[tuple[int, int, str]]) -> str:
    for start, length, piece in edits:
        content = content[:start] + piece + content[start + length :]
    return content


def render(suffix: str, items: list[Any], indent: int | None, ascii_only: bool) -> str:
    if suffix == ".jsonl":
        return "\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in items)
    return json.dumps(items, indent=indent, ensure_ascii=ascii_only)


layouts = {"indent": st.sampled_from([None, 0, 1]), "ascii_only": st.booleans()}
PIECES = (
    *("[", "]", "{", "}", ",", ":", '"', "\n", " ", "\t", "\r\n", "\\", "\0", "\x85", "\ufeff", "//"),
    *("NaN,", "-Infinity,", "1e999,", "null,", '"id": "t1",', '"prompt": "x",', '"a": 1, "a": 2,', "{},"),
    *("\\ud83d", "\\ud83d\\ude00", "\\\\ud83d\\ude00", "\\u00e9", "9" * 5000, "[" * 60, "[" * 60 + "]" * 60),
)
edits = st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 3), st.sampled_from(PIECES)), max_size=4)


@pytest.mark.parametrize("suffix", SUFFIXES)
@steady
@given(st.lists(good_tasks | good_tasks | odd_values, max_size=4), st.fixed_dictionaries(layouts), edits)
def test_any_tasks(
    prompts: Prompts, suffix: str, items: list[Any], layout: dict[str, Any], edits: list[tuple[int, int, str]]
) -> None:
    content = render(suffix, items, **layout)
    check_same(prompts, f"any{suffix}", mangle(content, edits[:1]))


@pytest.mark.parametrize("suffix", SUFFIXES)
@steady
@given(st.fixed_dictionaries(layouts), edits)
def test_a_mangled_file(
    prompts: Prompts, suffix: str, layout: dict[str, Any], edits: list[tuple[int, int, str]]
) -> None:
    content = render(suffix, [EXAMPLE | {"id": f"t{number}"} for number in range(3)], **layout)
    check_same(prompts, f"mangled{suffix}", mangle(content, edits))


def metadata(depth: int) -> str:
    return f'[{{"prompt": "p", "metadata": {{"a": {"[" * depth}{"]" * depth}}}}}]'


@pytest.mark.parametrize(
    "content",
    [
        "",
        " [ ] ",
        '[{"prompt": "p"},]',
        '[{"prompt": "p"} {"prompt": "q"}]',
        '[{"prompt": "p"}] x',
        '[{"prompt": "p"}',
        '[{"prompt": "p"}, 1]',
        '\n [\n{"prompt": "p"}\n,\n\n{"prompt": "q",\n"tags": ["1"]}\n]\n',
        '[{"prompt": "p"},\n{"prompt": "q", "prompt": "r"}]',
        '[{"prompt": "p",\n"metadata": {"a": 1,\n"a": 2}}]',
        '[{"prompt": "p",\n"metadata": {"a": NaN}}]',
        '[{"prompt": "p",\n"promt": 1}]',
        '[{"prompt": "p",\n"id": "a"}, {"prompt": "p",\n"id": "a"}]',
        '[{"prompt": "p"},\n{"prompt": "\\ud83d\\ude00"}]',
        '[{"prompt": "p"},\n{"prompt": "\\\\ud83d\\ude00"}]',
        '[{"prompt": "p",\n"metadata": {"\\udfff": 1}}]',
        *(metadata(depth) for depth in (46, 47, 48, 100, 100_000)),
        '{"tasks": [{"prompt": "p"},\n{"prompt": "q"}]}',
        '{"prompt":\n"p"}',
    ],
    ids=lambda content: content[:40],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_edges(prompts: Prompts, suffix: str, content: str) -> None:
    check_same(prompts, f"edge{suffix}", content)


TWO = '[{"prompt": "p", "checks": [{"run": "x"}]},\n{"prompt": "\\ud83d\\ude00"}]'


def test_a_list_that_is_right_is_read_the_quick_way() -> None:
    first, second = read_json(TWO, Problems(Path("a.json"), quick=True))
    assert (first.line, second.line, second["prompt"]) == (1, 2, "😀")
    with pytest.raises(Inexact):
        first.lines["prompt"]


def test_so_are_json_lines() -> None:
    lines = '{"prompt": "p"}\n\n  {"prompt": "q"}\r\n'
    first, second = read_jsonl(lines, Problems(Path("a.jsonl"), quick=True))
    assert (first.line, second.line) == (1, 3)
    with pytest.raises(Inexact):
        first.lines["prompt"]


@pytest.mark.parametrize(
    "text", ['[{"a": NaN}]', '[{"a": 1, "a": 1}]', '[{"a": "\\ud800"}]', "[1]", "[{}", "[]"]
)
def test_what_may_be_wrong_is_left_to_the_exact_way(text: str) -> None:
    with pytest.raises((Inexact, Wrong)):
        read_json(text, Problems(Path("a.json"), quick=True))

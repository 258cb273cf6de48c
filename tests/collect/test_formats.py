"""One task, many tasks, tasks with defaults: in every format, with ids and lines."""

from __future__ import annotations

import contextlib
import gc
import json
from pathlib import Path

import pytest

from pytest_goat.collect import FileErrors, read_tasks
from pytest_goat.task import Limits
from tests.support.prompts import Prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    return Prompts(tmp_path)


def ids(prompts: Prompts, name: str, content: str) -> list[tuple[str, int]]:
    return [(task.id, task.source.line) for task in prompts.read(name, content)]


def test_one_task_is_named_after_its_file(prompts: Prompts) -> None:
    assert ids(prompts, "fizz_buzz.yaml", "# a comment\nprompt: Write it.\n") == [("fizz_buzz", 2)]
    assert ids(prompts, "a.goat.json", '\n{"prompt": "x"}') == [("a", 2)]
    assert ids(prompts, "two words.yml", "prompt: x") == [("two-words", 1)]
    assert ids(prompts, "plain.md", "Write it.\n") == [("plain", 1)]


def test_tasks_of_a_list_are_numbered(prompts: Prompts) -> None:
    assert ids(prompts, "a.yaml", "- prompt: x\n- id: own\n  prompt: y\n- {prompt: z}\n") == [
        ("a-1", 1),
        ("own", 2),
        ("a-3", 4),
    ]
    assert ids(prompts, "a.json", '[{"prompt": "x"},\n {"prompt": "y"}]') == [("a-1", 1), ("a-2", 2)]
    assert ids(prompts, "a.jsonl", '{"prompt": "x"}\n\n{"prompt": "y"}\n') == [("a-1", 1), ("a-2", 3)]
    assert ids(prompts, "a.jsonl", '{"prompt": "x"}') == [("a-1", 1)]


def test_documents_of_one_yaml_file_are_one_list(prompts: Prompts) -> None:
    text = "---\nprompt: x\n---\n- prompt: y\n- prompt: z\n---\n---\ntasks: [{prompt: w}]\n---\n"
    assert ids(prompts, "a.yaml", text) == [("a-1", 2), ("a-2", 4), ("a-3", 5), ("a-4", 8)]
    assert ids(prompts, "a.yaml", "---\nprompt: x\n---\n") == [("a", 2)]


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_defaults_hold_where_a_task_says_nothing(prompts: Prompts, name: str) -> None:
    given = {
        "defaults": {"max_turns": 5, "timeout": 7.5, "tags": ["slow"], "checks": [{"run": "true"}]},
        "tasks": [{"prompt": "x"}, {"prompt": "y", "max_turns": 9, "tags": [], "checks": []}],
    }
    first, second = prompts.read(name, json.dumps(given))
    assert first.limits == Limits(max_turns=5, timeout=7.5)
    assert second.limits == Limits(max_turns=9, timeout=7.5)
    assert (first.tags, second.tags) == (("slow",), ())
    assert (len(first.checks), len(second.checks)) == (1, 0)


def test_a_batch_of_the_upstream_scripts_is_read_as_it_is(prompts: Prompts) -> None:
    batch = [
        {
            "id": "fizz",
            "prompt": "Write fizzbuzz.",
            "max_turns": 10,
            "category": "basics",
            "target_skill": "write",
        },
        {"id": "grep", "prompt": "Find it.", "max_turns": 5, "category": "search"},
    ]
    fizz, grep = prompts.read("prompts.json", json.dumps(batch, indent=2))
    assert (fizz.id, fizz.limits.max_turns, grep.limits.max_turns) == ("fizz", 10, 5)
    assert fizz.metadata == {"category": "basics", "target_skill": "write"}
    assert [line for line, _ in prompts.warnings] == [6, 7]
    assert "`category` is no key of a task and is kept as metadata (so in 2 tasks)" in prompts.warnings[0][1]


def test_markdown_is_front_matter_and_prompt(prompts: Prompts) -> None:
    (task,) = prompts.read("t.md", "---\nid: own\nmax_turns: 3\n---\n\n# Write it\n\n---\nmore\n\n")
    assert (task.id, task.limits.max_turns, task.source.line) == ("own", 3, 2)
    assert task.prompt == "# Write it\n\n---\nmore"
    (task,) = prompts.read("t.md", "\r\n".join(["---", "id: own", "---", "Write", "it"]))
    assert (task.id, task.prompt) == ("own", "Write\r\nit")
    (task,) = prompts.read("t.md", "---\n---\nWrite it")
    assert (task.id, task.prompt) == ("t", "Write it")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("---\nid: x\nWrite it\n", "1: : has front matter that does not end | write a line --- after it"),
        ("---\n- a\n---\nWrite it\n", "2: : has front matter that is not one mapping"),
        ("---\nprompt: x\n---\nWrite it\n", "4: : has a prompt in its front matter and one below"),
        ("---\nid: x\nmax_turns: 0\n---\nWrite it\n", "3: max_turns: is the number 0"),
        ("", "1: : has no prompt"),
    ],
)
def test_markdown_that_is_wrong(prompts: Prompts, content: str, error: str) -> None:
    (found,) = prompts.errors("t.md", content)
    assert found.startswith(error)


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.jsonl", "a.md"])
def test_a_byte_order_mark_is_no_part_of_the_text(prompts: Prompts, name: str) -> None:
    content = "Do it." if name == "a.md" else '{"prompt": "Do it."}'
    (task,) = prompts.read(name, b"\xef\xbb\xbf" + content.encode())
    assert task.prompt == "Do it."


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.jsonl", "a.md"])
def test_text_that_is_not_utf_8(prompts: Prompts, name: str) -> None:
    assert prompts.errors(name, b"a\n\xfcber") == ["2: : is not UTF-8 text | save it as UTF-8"]
    assert prompts.errors(name, "Übung".encode("utf-16")) == ["0: : is UTF-16 text | save it as UTF-8"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileErrors, match=r"a\.yaml: cannot be read: No such file or directory"):
        read_tasks(tmp_path / "a.yaml", None, lambda message, line: None)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.yaml", ""), ("a.yaml", "# nothing\n"), ("a.yaml", "[]"), ("a.json", "[]"), ("a.jsonl", "\n\n")],
)
def test_a_file_without_tasks(prompts: Prompts, name: str, content: str) -> None:
    assert prompts.errors(name, content) == [
        "0: : holds no task | a task is a mapping with at least `prompt: ...`"
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("just text", "0: : is the text 'just text', not a list"),
        ("- 3\n- prompt: x", "0: [0]: is the number 3, not a mapping"),
        ("defaults: {max_turns: 3}", "1: : has defaults and no tasks"),
        ("tasks: {prompt: x}", "1: tasks: is a mapping, not a list"),
        (
            "tasks: [{prompt: x}]\ndefault: {}",
            "2: default: is no key beside `tasks` | did you mean `defaults`?",
        ),
        ("tasks: [{prompt: x}]\ndefaults: {id: x}", "2: defaults.id: is no key of defaults"),
        ("tasks: [{prompt: x}]\ndefaults: 3", "2: defaults: is the number 3, not a mapping"),
        ("prompt: x\n---\nprompt: 3", "3: document 2.prompt: is the number 3, not text"),
    ],
)
def test_a_file_of_another_form(prompts: Prompts, content: str, error: str) -> None:
    (found,) = prompts.errors("a.yaml", content)
    assert found.startswith(error)


def test_every_problem_of_a_file_is_told_in_the_order_of_lines(prompts: Prompts) -> None:
    text = "- promt: x\n- prompt: y\n  max_turns: many\n  timeout: 0\n- prompt: z\n- id: a b\n  prompt: w\n"
    assert [error.split(" |")[0] for error in prompts.errors("a.yaml", text)] == [
        "1: [0]: has no prompt",
        "3: [1].max_turns: is the text 'many', not a whole number",
        "4: [1].timeout: is the number 0",
        "6: [3].id: is the text 'a b'",
    ]


def test_a_long_list_of_problems_is_cut(prompts: Prompts) -> None:
    with pytest.raises(FileErrors, match=r"\.\.\. and 80 more problems in this file") as caught:
        prompts.read("a.json", json.dumps([{}] * 100))
    assert len(caught.value.errors) == 100


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.yaml", "- {id: x, prompt: a}\n- {id: x, prompt: b}", "2: [1].id: is x, as in [0], line 1 |"),
        (
            "a.yaml",
            "id: x\nprompt: a\n---\nprompt: b\nid: x",
            "5: document 2.id: is x, as in document 1, line 1 |",
        ),
        (
            "a.jsonl",
            '{"prompt": "a"}\n{"id": "a-1", "prompt": "b"}',
            "2: [1].id: is a-1, as in [0], line 1 |",
        ),
    ],
)
def test_an_id_that_is_taken(prompts: Prompts, name: str, content: str, error: str) -> None:
    (found,) = prompts.errors(name, content)
    assert found.startswith(error)


def test_a_file_name_that_makes_no_id(prompts: Prompts) -> None:
    assert prompts.errors("ä.json", '{"prompt": "x"}') == [
        "1: : has no id, and the file's name makes none | write `id: ...`"
    ]


def test_unknown_keys_are_metadata(prompts: Prompts) -> None:
    (task,) = prompts.read("a.yaml", "prompt: x\nmax_turn: 3\nteam: [a, 1]\nmetadata: {team: b, level: 2}\n")
    assert task.metadata == {"max_turn": 3, "team": "b", "level": 2}
    assert prompts.warnings == [
        (2, "`max_turn` is no key of a task and is kept as metadata: did you mean `max_turns`?"),
        (3, "`team` is no key of a task and is kept as metadata"),
    ]


def test_a_misspelt_prompt_is_named(prompts: Prompts) -> None:
    assert prompts.errors("a.yaml", "id: x\npromt: y\n") == [
        "2: : has no prompt | did you mean `prompt` where `promt` is written?"
    ]


@pytest.mark.parametrize("key", ["own", "metadata"])
def test_metadata_is_what_json_can_say(prompts: Prompts, key: str) -> None:
    (task,) = prompts.read("a.yaml", "prompt: x\nmetadata: {a: [yes, 2026-01-01, 1.5, ~]}\n")
    assert task.metadata == {"a": ["yes", "2026-01-01", 1.5, None]}
    assert json.loads(json.dumps(task.metadata)) == task.metadata
    (found,) = prompts.errors("a.yaml", f"prompt: x\n{key}: {{a: [.nan]}}\n")
    assert found.startswith(f"2: {key}: holds nan, which JSON does not have")


@pytest.mark.parametrize("content", ["prompt: Do it.", "prompt: ["])
def test_garbage_is_collected_again_after_reading(prompts: Prompts, content: str) -> None:
    with contextlib.suppress(FileErrors):
        prompts.read("a.yaml", content)
    assert gc.isenabled()

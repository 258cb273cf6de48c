"""What must hold of the shipped suites without running a single task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from pytest_goat.collect import Suites, is_prompt_file, read_tasks
from pytest_goat.gateway.recording import EVERY, ToolCall, Turn, read_recording
from pytest_goat.goat_eval.tools.specs import SPECS
from pytest_goat.task import FileCheck, OutputCheck, Task

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
LEVELS = {"easy", "medium", "hard"}
RECORDINGS = ("replay", "replay-wrong")


def _warning(text: str, line: int) -> None:
    raise AssertionError(f"line {line}: {text}")


def _read() -> Iterator[Task]:
    suites = Suites(ROOT)
    for path in sorted(BENCHMARKS.rglob("*")):
        if path.is_file() and is_prompt_file(path, suites):
            yield from read_tasks(path, suites.of(path), _warning)


TASKS = list(_read())
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
each_recording = pytest.mark.parametrize("folder", RECORDINGS)


def suite_of(task: Task) -> Path:
    assert task.suite is not None
    return task.suite.root


@cache
def recording(task_root: Path, folder: str, task_id: str) -> tuple[Turn, ...]:
    return read_recording(task_root / folder / f"{task_id}.yaml").takes[EVERY].turns


def calls_of(task: Task, folder: str) -> list[ToolCall]:
    return [call for turn in recording(suite_of(task), folder, task.id) for call in turn.tools]


def test_there_are_enough() -> None:
    assert len(TASKS) >= 24
    assert len({suite_of(task) for task in TASKS}) >= 4


def test_ids_are_unique() -> None:
    assert [name for name, times in Counter(task.id for task in TASKS).items() if times > 1] == []


def test_every_format_is_shown() -> None:
    assert {task.source.path.suffix for task in TASKS} >= {".yaml", ".jsonl", ".md"}


def test_every_suite_goes_from_easy_to_hard() -> None:
    for root in {suite_of(task) for task in TASKS}:
        levels = {tag for task in TASKS if suite_of(task) == root for tag in task.tags} & LEVELS
        assert levels == LEVELS, root.name


def test_there_are_checks_of_every_kind() -> None:
    kinds = Counter(kind for task in TASKS for kind in {type(check) for check in task.checks})
    assert kinds[OutputCheck] >= 6
    assert kinds[FileCheck] >= 4


@each_task
def test_a_task_is_complete(task: Task) -> None:
    assert task.checks
    assert task.solution is not None
    assert len(LEVELS.intersection(task.tags)) == 1
    assert set(task.tags) - LEVELS
    assert task.metadata == {}
    assert task.suite is not None
    assert task.suite.gate is not None


@each_recording
@each_task
def test_a_recording_is_a_dialogue(task: Task, folder: str) -> None:
    *working, last = recording(suite_of(task), folder, task.id)
    assert all(turn.tools for turn in working)
    assert len(working) >= (2 if folder == "replay" else 1)
    assert last.text
    assert not last.tools


@each_recording
@each_task
def test_tools_are_called_as_they_want_to_be(task: Task, folder: str) -> None:
    for call in calls_of(task, folder):
        _, parameters, _ = SPECS[call.name]
        jsonschema.validate(call.arguments, {**parameters, "additionalProperties": False})
        path = call.arguments.get("file_path", "{workdir}/")
        assert path.startswith("{workdir}/"), f"{call.name} wants an absolute path"
        if call.name == "Edit":
            assert call.arguments["old_string"] != call.arguments["new_string"]


def test_every_tool_is_used() -> None:
    used = Counter(call.name for task in TASKS for call in calls_of(task, "replay"))
    assert used.keys() == SPECS.keys()
    assert min(used.values()) >= 10


def test_several_tools_are_called_in_one_turn() -> None:
    for root in {suite_of(task) for task in TASKS}:
        turns = [
            turn for task in TASKS if suite_of(task) == root for turn in recording(root, "replay", task.id)
        ]
        assert any(len(turn.tools) > 1 for turn in turns)


@each_task
def test_the_wrong_attempt_says_what_is_wrong(task: Task) -> None:
    right, wrong = (suite_of(task) / folder / f"{task.id}.yaml" for folder in RECORDINGS)
    assert wrong.read_text().startswith("# Wrong: ")
    assert wrong.read_text() != right.read_text()


@each_recording
def test_no_recording_without_its_task(folder: str) -> None:
    known = {(suite_of(task), task.id) for task in TASKS}
    there = {(path.parent.parent, path.stem) for path in BENCHMARKS.glob(f"*/{folder}/*")}
    assert there == known

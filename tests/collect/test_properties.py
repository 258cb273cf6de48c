"""Any valid task survives being written and read again; any other file gives tasks or a clean error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_goat.collect import FileErrors, Suites, dump_task, json_schema
from pytest_goat.collect.checks import CONDITIONS, KINDS
from pytest_goat.collect.fields import SHARED, SUITE, TASK
from pytest_goat.task import Task
from tests.support.prompts import Prompts, render

FORMATS = (".yaml", ".json", ".jsonl", ".md")
SCHEMA = Draft202012Validator(json_schema())
steady = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    """A suite with defaults, a file and a folder for tasks to name."""
    prompts = Prompts(tmp_path)
    prompts.write("deep/a.txt", "a")
    prompts.write("goat.yaml", "defaults: {max_turns: 7, tags: [suite], workspace: deep, metadata: {a: 1}}")
    prompts.suite = Suites(tmp_path).of(tmp_path / "x.yaml")
    return prompts


any_text = st.text(max_size=20)
text = any_text.filter(lambda value: value.strip() and "\0" not in value)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
tags = names.filter(lambda name: name not in ("and", "or", "not", "skipif"))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
seconds = st.floats(0.001, 1e6) | st.integers(1, 10**6)
counts = st.integers(1, 10**6)
shares = st.floats(0.01, 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
files = st.dictionaries(
    names,
    any_text | st.sampled_from(["deep/a.txt", "./deep/../deep/a.txt"]).map(lambda path: {"from": path}),
    max_size=3,
)
patterns = st.sampled_from(["a|b", r"(?i)\bdone\b", "[[x]", "^$"])


def mapping(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


every = {"name": text, "weight": st.floats(0.1, 10)}
conditions = {
    "contains": text | st.lists(text, min_size=1, max_size=2),
    "matches": patterns,
    "equals": any_text,
}
schemas = st.sampled_from([{}, {"type": "object", "required": ["a"]}, {"enum": [1, None]}])
checks = st.one_of(
    mapping({"run": text}, files=files, timeout=seconds, trust=st.lists(paths, max_size=2), **every),
    mapping({"file": paths}, exists=st.just(True), **conditions, **every),
    mapping({"file": paths, "absent": st.just(True)}, **every),
    mapping({"output": text | mapping({"json": json_values}, schema=schemas, **conditions)}, **every),
    mapping({"judge": text}, files=st.lists(paths, max_size=2), min_score=shares, **every),
)
tasks = mapping(
    {"prompt": text},
    id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    description=any_text,
    tags=st.lists(tags, max_size=3),
    files=files,
    workspace=st.just("deep"),
    max_turns=counts,
    timeout=seconds,
    check_timeout=seconds,
    memory_mb=counts,
    processes=counts,
    disk_mb=counts,
    image=st.sampled_from(["python:3.12-slim", "./deep/a.txt"]),
    setup=text,
    cpu=seconds,
    gpu=st.sampled_from(["T4", "A10G:2"]),
    checks=st.lists(checks, max_size=3),
    threshold=shares,
    solution=text | mapping({"files": files.filter(bool)}, run=text) | mapping({"run": text}, files=files),
    metadata=st.dictionaries(any_text, json_values, max_size=3),
    own_key=json_values,
)


def but_for_its_source(task: Task, other: Task) -> Task:
    return dataclasses.replace(task, source=other.source)


@steady
@given(tasks)
def test_a_task_written_and_read_again_is_the_same(prompts: Prompts, given: dict[str, Any]) -> None:
    (task,) = prompts.read("task.json", json.dumps(given))
    written = dump_task(task)
    assert SCHEMA.is_valid(written)
    for suffix in FORMATS:
        (again,) = prompts.read(f"again{suffix}", render(suffix, [written]))
        assert but_for_its_source(again, task) == task, suffix


@steady
@given(st.lists(tasks, min_size=2, max_size=4, unique_by=lambda task: task.get("id", task["prompt"])))
def test_many_tasks_are_the_same_in_every_format(prompts: Prompts, given: list[dict[str, Any]]) -> None:
    read = [prompts.read(f"many{suffix}", render(suffix, given)) for suffix in (".yaml", ".json", ".jsonl")]
    for found in read[1:]:
        assert [but_for_its_source(task, other) for task, other in zip(found, read[0], strict=True)] == read[
            0
        ]


def read_anything(prompts: Prompts, name: str, content: bytes) -> None:
    """Tasks or a clean error, whose lines are lines of the file."""
    found: list[Task] = []
    lines: list[int] = []
    try:
        found = prompts.read(name, content)
    except FileErrors as error:
        lines = [one.line for one in error.errors]
    assert found or lines
    assert max(lines, default=0) <= content.count(b"\n") + 2


EXAMPLE: dict[str, Any] = {
    "id": "example",
    "prompt": "Schreib ein Gedicht über Ziegen. 🐐\n",
    "tags": ["a", "b"],
    "max_turns": 3,
    "files": {"a/b": "c", "d": {"from": "deep/a.txt"}},
    "checks": [
        {"run": "make", "files": {"t": "x"}},
        {"file": "a", "matches": "(a|b)+[c-d]{2,3}"},
        {"output": {"json": {"a": [1.5e3, None]}, "schema": {"type": "object", "properties": {"a": {}}}}},
    ],
    "metadata": {"deep": [[["x"]]], "yes": False},
}
edits = st.lists(
    st.tuples(
        st.integers(0, 700),
        st.integers(0, 30),
        st.binary(max_size=4)
        | st.sampled_from([b"[", b"{", b"&a *a", b": ", b"\n- ", b"\t", b"---\n", b'"', b"<<: ", b"!!"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("suffix", FORMATS)
@steady
@given(edits)
def test_a_mangled_file(prompts: Prompts, suffix: str, edits: list[tuple[int, int, bytes]]) -> None:
    content = render(suffix, [EXAMPLE]).encode()
    for start, length, new in edits:
        content = content[:start] + new + content[start + length :]
    read_anything(prompts, f"mangled{suffix}", content)


@pytest.mark.parametrize("suffix", FORMATS)
@steady
@given(
    st.binary(max_size=60) | st.text(alphabet="[]{}:,-?&*!|>'\"%@`#\n\t ~0.ay<=", max_size=60).map(str.encode)
)
def test_any_bytes(prompts: Prompts, suffix: str, content: bytes) -> None:
    read_anything(prompts, f"any{suffix}", content)


keys = st.sampled_from(
    [*TASK, *KINDS, *CONDITIONS, "name", "weight", "trust", "defaults", "tasks", "from", "promt"]
)
odd_values = st.recursive(
    json_values
    | st.floats(1e300, 1e308)
    | st.integers(10**30, 10**31)
    | st.sampled_from(["(", "../x", "deep", "a\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | any_text, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@steady
@given(st.dictionaries(keys, odd_values, max_size=5) | st.lists(odd_values, max_size=3) | odd_values)
def test_any_values(prompts: Prompts, suffix: str, value: Any) -> None:
    content = json.dumps(value) if suffix == ".json" else render(suffix, [value])
    read_anything(prompts, f"values{suffix}", content.encode("utf-8", "surrogatepass"))


@steady
@given(st.dictionaries(st.sampled_from([*SUITE, *SHARED]), odd_values, max_size=5) | odd_values)
def test_any_goat_yaml(prompts: Prompts, value: Any) -> None:
    path = prompts.write("any/goat.yaml", json.dumps(value))
    with contextlib.suppress(FileErrors):
        assert Suites(prompts.folder).of(path) is not None

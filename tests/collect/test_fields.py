"""What each key of a task takes, what it becomes, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_goat.task import Check, FileCheck, JudgeCheck, Limits, Machine, OutputCheck, RunCheck, Solution
from tests.support.prompts import Prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    return Prompts(tmp_path)


def test_a_task_with_every_key(prompts: Prompts) -> None:
    task = prompts.task(
        id="Task_1.a-b",
        description="says what it is",
        tags="python, easy, python",
        files={"a/b.txt": "text", "./c": ""},
        max_turns=3,
        timeout=1.5,
        check_timeout=2,
        memory_mb=512,
        processes=4.0,
        disk_mb=10,
        image="python:3.12-slim",
        setup="apt-get install -y jq",
        cpu=2,
        gpu="A10G:2",
        checks=[{"run": "true"}],
        threshold=0.5,
        solution={"run": "touch x", "files": {"y": "z"}},
        metadata={"level": [1, None, {"a": True}]},
    )
    assert (task.id, task.prompt, task.description) == ("Task_1.a-b", "Do it.", "says what it is")
    assert task.tags == ("python", "easy")
    assert task.files == {"a/b.txt": "text", "c": ""}
    assert task.limits == Limits(3, 1.5, 2, 512, 4, 10)
    assert isinstance(task.limits.processes, int)
    assert task.machine == Machine("python:3.12-slim", "apt-get install -y jq", 2, "A10G:2")
    assert (task.threshold, task.solution) == (0.5, Solution("touch x", {"y": "z"}))
    assert task.metadata == {"level": [1, None, {"a": True}]}


def test_a_task_with_a_prompt_alone(prompts: Prompts) -> None:
    task = prompts.task()
    assert (task.tags, task.files, task.checks, task.threshold) == ((), {}, (), 1.0)
    assert (task.limits, task.workspace, task.solution, task.metadata) == (Limits(), None, None, {})


def test_a_solution_may_be_one_line(prompts: Prompts) -> None:
    assert prompts.task(solution="touch x").solution == Solution("touch x")


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"run": "make test"}, RunCheck("make test", run="make test")),
        (
            {
                "run": "a\nb",
                "files": {"t.py": "x"},
                "timeout": 5,
                "trust": "conftest.py",
                "name": "n",
                "weight": 2,
            },
            RunCheck("n", 2, run="a\nb", files={"t.py": "x"}, timeout=5, trust=("conftest.py",)),
        ),
        ({"file": "./a"}, FileCheck("a", file="a")),
        ({"file": "a", "exists": True}, FileCheck("a", file="a")),
        ({"file": "a", "absent": True}, FileCheck("a is absent", file="a", exists=False)),
        ({"file": "a", "contains": "x"}, FileCheck("a contains 'x'", file="a", contains=("x",))),
        (
            {"file": "a", "contains": ["x", "y"], "matches": "^z", "equals": ""},
            FileCheck("a contains 'x', 'y' matches '^z' equals ''", 1, "a", True, ("x", "y"), "^z", ""),
        ),
        ({"output": "done"}, OutputCheck("answer contains 'done'", contains=("done",))),
        ({"output": {"matches": "a|b"}}, OutputCheck("answer matches 'a|b'", matches="a|b")),
        ({"output": {"json": None}}, OutputCheck("answer is None in JSON", json_equals=None, has_json=True)),
        (
            {"output": {"schema": {"type": "object"}}},
            OutputCheck("answer satisfies its schema", json_schema={"type": "object"}),
        ),
        ({"judge": "Is it kind?"}, JudgeCheck("judge: Is it kind?", rubric="Is it kind?")),
        (
            {"judge": "x", "files": ["a", "b"], "min_score": 1, "weight": 0.5},
            JudgeCheck("judge: x", 0.5, rubric="x", files=("a", "b"), min_score=1),
        ),
    ],
)
def test_checks(prompts: Prompts, given: dict[str, Any], check: Check) -> None:
    assert prompts.task(checks=[given]).checks == (check,)


def test_a_made_name_is_short_and_of_one_line(prompts: Prompts) -> None:
    (check,) = prompts.task(checks=[{"run": "echo " + "x" * 100 + "\nmore"}]).checks
    assert len(check.name) == 80
    assert check.name.endswith("x...")


WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("id", "", "id: is the text ''"),
    ("id", "-a", "id: is the text '-a'"),
    ("id", "a/b", "id: is the text 'a/b'"),
    ("id", "x" * 101, "id: is the text 'xxx"),
    ("id", "a\n", "id: is the text 'a\\n'"),
    ("id", None, "id: is nothing (null), not text"),
    ("id", 1.0, "id: is the number 1.0, not text | put it in quotes"),
    ("prompt", " \n", "prompt: is empty"),
    ("prompt", "a\0b", "prompt: holds a NUL character"),
    ("prompt", ["a"], "prompt: is a list, not text"),
    ("prompt", True, "prompt: is true, not text"),
    ("prompt_file", "x", "prompt_file: there is no file"),
    ("tags", "a b", "tags[0]: is the text 'a b'"),
    ("tags", ["ok", "9"], "tags[1]: is the text '9'"),
    ("tags", ["not"], "tags[0]: is the text 'not'"),
    ("tags", ["skipif"], "tags[0]: is the text 'skipif'"),
    ("tags", {"a": 1}, "tags: is a mapping, not text"),
    ("files", ["a"], "files: is a list, not a mapping"),
    ("files", {"": "x"}, "files['']: is empty"),
    ("files", {".": "x"}, "files['.']: . is a folder"),
    ("files", {"a/": "x"}, "files['a/']: a/ is a folder"),
    ("files", {"/a": "x"}, "files['/a']: /a leads out of the workspace"),
    ("files", {"a/../../b": "x"}, "files['a/../../b']: a/../../b leads out"),
    ("files", {"a": "x", "./a": "y"}, "files['./a']: is a again"),
    ("files", {"a/b/c": "x", "a": "y"}, "files: has a as a file and as the folder of a/b/c"),
    ("files", {"a": 3}, "files.a: is the number 3, not text"),
    ("files", {"a": {}}, "files.a: is an empty mapping"),
    ("files", {"a": {"form": "x"}}, "files.a.form: is no key of a file | did you mean `from`?"),
    ("files", {"a": {"from": "x"}}, "files.a.from: there is no file"),
    ("workspace", "x", "workspace: there is no folder"),
    ("max_turns", 0, "max_turns: is the number 0 | write a whole number from 1, without quotes"),
    ("max_turns", 1.5, "max_turns: is the number 1.5, not a whole number"),
    ("max_turns", "3", "max_turns: is the text '3', not a whole number"),
    ("max_turns", True, "max_turns: is true, not a whole number"),
    ("max_turns", 10**400, "max_turns: is the number 1000"),
    ("timeout", 0, "timeout: is the number 0 | write a number above 0, without quotes"),
    ("timeout", -1.5, "timeout: is the number -1.5"),
    ("timeout", 1e300, "timeout: is the number 1e+300"),
    ("timeout", None, "timeout: is nothing (null), not a number"),
    ("check_timeout", False, "check_timeout: is false, not a number"),
    ("image", "Not An Image", "image: Not An Image is no name of an image"),
    ("gpu", "A10G:9", "gpu: is the text 'A10G:9' | a GPU is a name"),
    ("cpu", 0, "cpu: is the number 0"),
    ("memory_mb", 0.5, "memory_mb: is the number 0.5, not a whole number"),
    ("processes", [], "processes: is a list, not a whole number"),
    ("disk_mb", {}, "disk_mb: is a mapping, not a whole number"),
    ("threshold", 0, "threshold: is the number 0 | write a number above 0 to 1, without quotes"),
    ("threshold", 1.01, "threshold: is the number 1.01"),
    ("solution", "", "solution: is empty"),
    ("solution", {}, "solution: does nothing"),
    ("solution", 3, "solution: is the number 3, not a mapping"),
    ("solution", {"runs": "x"}, "solution.runs: is no key of a solution | did you mean `run`?"),
    ("metadata", [], "metadata: is a list, not a mapping"),
    ("description", 3, "description: is the number 3, not text"),
    ("checks", {"run": "x"}, "checks: is a mapping, not a list"),
]


@pytest.mark.parametrize(("key", "value", "error"), WRONG_VALUES)
def test_a_wrong_value(prompts: Prompts, key: str, value: Any, error: str) -> None:
    if key == "prompt_file":
        (found,) = prompts.errors("task.json", '{"prompt_file": "x"}')
    else:
        found = prompts.problem(**{key: value})
    assert found.startswith(f"1: {error}")


WRONG_CHECKS: list[tuple[Any, str]] = [
    ("pytest", ": is the text 'pytest', not a mapping"),
    ({}, ": is of no kind | give it one of run, file, output, judge"),
    ({"flie": "x"}, ": is of no kind | did you mean `file`?"),
    ({"run": "x", "file": "y"}, ": is of 2 kinds: run, file"),
    ({"run": ""}, ".run: is empty"),
    ({"run": "x", "wieght": 3}, ".wieght: is no key of a run check | did you mean `weight`?"),
    ({"run": "x", "contains": "y"}, ".contains: is no key of a run check | there are: run, files, timeout"),
    ({"run": "x", "weight": 0}, ".weight: is the number 0"),
    ({"run": "x", "timeout": True}, ".timeout: is true, not a number"),
    ({"run": "x", "trust": ["../a"]}, ".trust[0]: ../a leads out of the workspace"),
    ({"run": "x", "files": {"../a": "x"}}, ".files['../a']: ../a leads out of the workspace"),
    ({"file": "/etc/passwd"}, ".file: /etc/passwd leads out of the workspace"),
    (
        {"file": "a", "matches": "(a"},
        ".matches: is no regular expression: missing ), unterminated subpattern",
    ),
    ({"file": "a", "matches": "(" * 5000}, ".matches: is "),
    ({"file": "a", "matches": "a{99999999999}"}, ".matches: is too large a regular expression"),
    ({"file": "a", "contains": []}, ".contains: is an empty list"),
    ({"file": "a", "contains": ["x", 3]}, ".contains[1]: is the number 3, not text"),
    ({"file": "a", "exists": False}, ".exists: is false | write `exists: true` or leave it out"),
    ({"file": "a", "absent": "yes"}, ".absent: is the text 'yes' | write `absent: true`"),
    ({"file": "a", "absent": True, "equals": "x"}, ": wants a file to be absent and to have a content"),
    ({"output": {}}, ".output: asks for nothing | give it contains, matches, equals, json, schema"),
    ({"output": ["x"]}, ".output: is a list, not a mapping"),
    (
        {"output": {"contain": "x"}},
        ".output.contain: is no key of an output check | did you mean `contains`?",
    ),
    (
        {"output": {"schema": {"type": "objct"}}},
        ".output.schema: is no JSON Schema: type: 'objct' is not valid",
    ),
    ({"output": {"schema": True}}, ".output.schema: is true, not a mapping"),
    ({"judge": "x", "min_score": 2}, ".min_score: is the number 2"),
    ({"judge": "x", "files": {"a": "b"}}, ".files: is a mapping, not text"),
]


@pytest.mark.parametrize(("check", "error"), WRONG_CHECKS)
def test_a_wrong_check(prompts: Prompts, check: Any, error: str) -> None:
    assert prompts.problem(checks=[{"run": "true"}, check]).startswith(f"1: checks[1]{error}")


def test_a_pattern_that_python_only_warns_of_is_taken(prompts: Prompts) -> None:
    (check,) = prompts.task(checks=[{"file": "a", "matches": "[[a]"}]).checks
    assert isinstance(check, FileCheck)
    assert check.matches == "[[a]"


def test_a_prompt_may_stand_in_a_file(prompts: Prompts) -> None:
    prompts.write("texts/ask.txt", "Do it well.\n")
    (task,) = prompts.read("a.json", '{"prompt_file": "texts/ask.txt"}')
    assert task.prompt == "Do it well.\n"
    assert prompts.problem(prompt_file="texts/ask.txt").startswith("1: : has a `prompt` and a `prompt_file`")
    prompts.write("texts/ask.txt", b"\xff")
    (found,) = prompts.errors("a.json", '{"prompt_file": "texts/ask.txt"}')
    assert "ask.txt is not UTF-8 text | save it as UTF-8" in found

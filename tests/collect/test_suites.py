"""Which folder is a suite, what its tasks inherit, and which files are prompt files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_goat.collect import FileErrors, Suites, is_prompt_file, read_tasks
from pytest_goat.task import GateRule, Limits, Suite


def write(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def make(root: Path, *names: str) -> None:
    write(root, **dict.fromkeys(names, ""))


def suite_of(root: Path, name: str) -> Suite:
    suite = Suites(root).of(root / name)
    assert suite is not None
    return suite


def test_a_suite_is_the_nearest_goat_yaml(tmp_path: Path) -> None:
    make(tmp_path, "a/goat.yaml", "a/b/goat.yaml", "a/b/c/x.yaml", "d/x.yaml")
    suites = Suites(tmp_path)
    for file, name in (
        ("a/x.yaml", "a"),
        ("a/b/x.yaml", "a/b"),
        ("a/b/c/x.yaml", "a/b"),
        ("a/e/f/x.yaml", "a"),
    ):
        suite = suites.of(tmp_path / file)
        assert suite is not None
        assert (suite.name, suite.root) == (name, tmp_path / name)
    assert suites.of(tmp_path / "d/x.yaml") is None
    assert suites.of(tmp_path / "x.yaml") is None


def test_the_rootdir_may_be_a_suite_and_nothing_above_it_is(tmp_path: Path) -> None:
    make(tmp_path, "goat.yaml", "root/a/x.yaml")
    assert Suites(tmp_path / "root").of(tmp_path / "root/a/x.yaml") is None
    assert suite_of(tmp_path, "root/a/x.yaml").name == "."


def test_a_suite_outside_the_rootdir_is_found(tmp_path: Path) -> None:
    make(tmp_path, "root/x", "bench/goat.yaml", "bench/a/x.yaml")
    suite = Suites(tmp_path / "root").of(tmp_path / "bench/a/x.yaml")
    assert suite is not None
    assert suite.name == "../bench"


def test_all_that_a_suite_says(tmp_path: Path) -> None:
    text = (
        "description: small things\ndefaults: {max_turns: 10}\nignore: [old, '*.json']\n"
        "gate: {pass_rate: 0.8, max_errors: 2, confidence: 0.95}\n"
    )
    write(tmp_path, **{"a/goat.yaml": text})
    suite = suite_of(tmp_path, "a/x.yaml")
    assert suite.gate == GateRule(0.8, 2, 0.95)
    assert (suite.description, suite.ignore) == ("small things", ("old", "*.json"))
    assert suite.defaults == {"max_turns": 10}


def test_the_nearer_suite_wins_key_by_key_and_keeps_its_gate_to_itself(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "goat.yaml": "defaults: {max_turns: 10, timeout: 9, tags: [a], workspace: w}\ngate: {}",
            "w/a.txt": "",
            "in/goat.yaml": "defaults: {timeout: 5, tags: [inner]}",
            "in/task.yaml": "tasks:\n- prompt: x\n  timeout: 1\ndefaults: {max_turns: 2}\n",
        },
    )
    suite = suite_of(tmp_path, "in/task.yaml")
    assert suite.gate is None
    (task,) = read_tasks(tmp_path / "in/task.yaml", suite, lambda message, line: None)
    assert task.limits == Limits(max_turns=2, timeout=1)
    assert task.tags == ("inner",)
    assert task.workspace == Path(os.path.realpath(tmp_path / "w"))
    assert task.suite is suite


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("defalts: {}", "goat.yaml:1: defalts: is no key of a suite\n  did you mean `defaults`?"),
        (
            "\ndefaults: {max_turn: 1}",
            "goat.yaml:2: defaults.max_turn: is no key of defaults\n  did you mean `max_turns`?",
        ),
        ("defaults: {prompt: x}", "goat.yaml:1: defaults.prompt: is no key of defaults"),
        ("gate: 0.8", "goat.yaml:1: gate: is the number 0.8, not a mapping\n  write {pass_rate: 0.8}"),
        (
            "gate: {passrate: 1}",
            "goat.yaml:1: gate.passrate: is no key of a gate\n  did you mean `pass_rate`?",
        ),
        (
            "gate: {pass_rate: 80}",
            "goat.yaml:1: gate.pass_rate: is the number 80\n  write a number from 0 to 1",
        ),
        ("gate: {pass_rate: .nan}", "goat.yaml:1: gate.pass_rate: is the number nan"),
        ("gate: {confidence: 1}", "goat.yaml:1: gate.confidence: is the number 1\n"),
        ("gate: {max_errors: -1}", "goat.yaml:1: gate.max_errors: is the number -1"),
        ("ignore: 3", "goat.yaml:1: ignore: is the number 3, not text"),
        ("[]", "goat.yaml: is a list, not a mapping"),
        ("a: 1\n---\nb: 2", "goat.yaml: holds several documents"),
    ],
)
def test_a_wrong_goat_yaml(tmp_path: Path, text: str, error: str) -> None:
    write(tmp_path, **{"goat.yaml": text})
    suites = Suites(tmp_path)
    for _ in range(2):
        with pytest.raises(FileErrors) as caught:
            suites.of(tmp_path / "deep/x.yaml")
        assert error in str(caught.value)
    with pytest.raises(FileErrors):
        is_prompt_file(tmp_path / "x.yaml", suites)
    assert not is_prompt_file(tmp_path / "x.py", suites)


def test_each_folder_is_looked_at_once(tmp_path: Path) -> None:
    make(tmp_path, "a/goat.yaml")
    suites = Suites(tmp_path)
    suite = suites.of(tmp_path / "a/b/x.yaml")
    (tmp_path / "a/goat.yaml").write_text("wrong: 1")
    assert suites.of(tmp_path / "a/b/y.yaml") is suite


IN_SUITE = (
    "x.yaml",
    "x.yml",
    "x.json",
    "x.jsonl",
    "deep/er/x.yaml",
    "solution.yaml",
    "replays.json",
    "x.goat.md",
)
NOT_IN_SUITE = (
    "goat.yaml",
    "x.txt",
    "x.py",
    "yaml",
    "x.yaml.bak",
    "README.md",
    ".hidden.yaml",
    "_draft.yaml",
    "replay/x.yaml",
    "replay-wrong/deep/x.json",
    "workspace/x.json",
    "workspaces/a/package.json",
    "solutions/x.json",
    "_old/x.yaml",
    ".cache/x.json",
    "deep/workspace-2/x.yaml",
)


@pytest.mark.parametrize("name", IN_SUITE)
def test_a_prompt_file_of_a_suite(tmp_path: Path, name: str) -> None:
    make(tmp_path, "s/goat.yaml", f"s/{name}")
    assert is_prompt_file(tmp_path / "s" / name, Suites(tmp_path))


@pytest.mark.parametrize("name", NOT_IN_SUITE)
def test_no_prompt_file_of_a_suite(tmp_path: Path, name: str) -> None:
    make(tmp_path, "s/goat.yaml", f"s/{name}")
    assert not is_prompt_file(tmp_path / "s" / name, Suites(tmp_path))


@pytest.mark.parametrize("name", ["x.yaml", "x.json", "deep/x.md", "mkdocs.yml", ".pre-commit-config.yaml"])
def test_outside_a_suite_only_what_says_so_or_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: "---\nid: x\n---\nDo it."})
    suites = Suites(tmp_path)
    assert not is_prompt_file(tmp_path / name, suites)
    assert is_prompt_file(tmp_path / name, suites, named=True)
    for suffix in ("yaml", "yml", "json", "jsonl", "md"):
        assert is_prompt_file(tmp_path / f"x.goat.{suffix}", suites)
    for other in ("x.goat.txt", "x.goat", "test_x.py", "goat.yaml"):
        assert not is_prompt_file(tmp_path / other, suites, named=True)


def test_what_a_suite_ignores(tmp_path: Path) -> None:
    write(tmp_path, **{"s/goat.yaml": "ignore: [old, 'data/*.json', '**/x.yml', fixtures/]"})
    make(tmp_path, "s/old/goat.yaml", "s/in/goat.yaml")
    suites = Suites(tmp_path)
    ignored = ("old/a.yaml", "in/old/a.yaml", "data/a.json", "x.yml", "in/x.yml", "in/fixtures/deep/a.yaml")
    taken = ("older/a.yaml", "data/a.yaml", "in/data/a.json", "a.json")
    assert [name for name in ignored + taken if is_prompt_file(tmp_path / "s" / name, suites)] == list(taken)
    assert suites.ignores(tmp_path / "s/in/old")
    assert not suites.ignores(tmp_path / "s/in/data")
    assert not suites.ignores(tmp_path / "old")


@pytest.mark.parametrize(
    ("text", "is_task"),
    [
        ("---\nid: x\n---\nDo it.", True),
        ("\ufeff---\r\nmax_turns : 3\r\n---\r\nDo it.", True),
        ("---\ntitle: About\ndescription: This suite\n---\nText", False),
        ("---\ntitle: About\n---\nid: x\n", False),
        ("# About\n\n---\nid: x\n---\n", False),
        ("", False),
    ],
)
def test_markdown_with_a_task_in_its_front_matter(tmp_path: Path, text: str, is_task: bool) -> None:
    make(tmp_path, "goat.yaml")
    (tmp_path / "x.md").write_text(text, newline="")
    assert is_prompt_file(tmp_path / "x.md", Suites(tmp_path)) is is_task


def test_a_project_without_suites_is_looked_at_lightly(tmp_path: Path) -> None:
    make(tmp_path, "package.json", "README.md")
    program = """
import sys
from pathlib import Path
from pytest_goat.collect import Suites, is_prompt_file
suites = Suites(Path.cwd())
assert not is_prompt_file(Path.cwd() / "package.json", suites)
assert not is_prompt_file(Path.cwd() / "README.md", suites)
assert not {"yaml", "jsonschema", "difflib", "pytest_goat.task"} & set(sys.modules), sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""

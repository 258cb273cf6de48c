"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_goat.agent.adapter_file import read_adapter
from pytest_goat.settings import option_name, options

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_every_option_stands_in_the_table() -> None:
    shown = set(re.findall(r"--goat-[a-z-]+", README.read_text()))
    known = {option_name(row.name) for row in options()}
    assert known - shown == set()
    assert shown - known == set()


def test_the_task_is_solved_by_its_own_solution(pytester: pytest.Pytester) -> None:
    task, suite, *_ = blocks("yaml")
    folder = pytester.path / "basics"
    folder.mkdir()
    (folder / "reverse_string.yaml").write_text(task)
    (folder / "goat.yaml").write_text(suite)
    result = pytester.runpytest_subprocess("basics", "--goat-agent", "oracle", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["basics/reverse_string.yaml::reverse_string*PASSED*"])


def test_the_adapter_file_is_one(tmp_path: Path) -> None:
    (path := tmp_path / "agent.yaml").write_text(blocks("yaml")[2])
    (tmp_path / "my-agent").write_text("#!/bin/sh\n")
    spec = read_adapter(path)
    assert spec.argv[0] == "{program}"
    assert spec.answer.at == "result.text"


def test_the_python_example_is_python() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec")

from __future__ import annotations

import pytest

from pytest_goat.checks.finding import CannotRun
from pytest_goat.checks.shell import commands, pytest_call


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("pytest", ()),
        ("pytest -q tests", ("-q", "tests")),
        ("python -m pytest -q", ("-q",)),
        ("python3 -B -m pytest -q", ("-q",)),
        ("/usr/bin/python3.12 -m pytest", ()),
        ("cd app && A=1 B='x y' python -m pytest t.py", ("t.py",)),
        ("make build; pytest t.py | tail -3", ("t.py",)),
        ("make build\npytest \\\n  t.py", ("t.py",)),
        ("timeout -k 5 60 env X=1 pytest t.py", ("t.py",)),
        ("coverage run -m pytest t.py", ("t.py",)),
        ("(cd app; pytest t.py)", ("t.py",)),
        ("pytest t.py 2>&1", ("t.py", "2", ">&", "1")),
    ],
)
def test_pytest_is_found(line: str, arguments: tuple[str, ...]) -> None:
    call = pytest_call(line)
    assert call is not None
    assert call.arguments == arguments


@pytest.mark.parametrize(
    "line",
    [
        "",
        "true",
        "python test_a.py",
        "python -m unittest",
        "grep -q 'a && pytest' log",
        "pip show pytest",
        "! pytest -q",
        "pytest || echo failed",
        "if pytest; then exit 1; fi",
        "echo 'unbalanced",
    ],
)
def test_no_pytest_decides(line: str) -> None:
    assert pytest_call(line) is None


@pytest.mark.parametrize(
    "line", ["pytest a.py && pytest b.py", "pytest --junitxml=a.xml", "pytest --junit-xml a"]
)
def test_lines_that_leave_no_one_report_are_refused(line: str) -> None:
    with pytest.raises(CannotRun, match="make a check of each" if "&&" in line else "leave out"):
        pytest_call(line)


def test_which_files_it_names() -> None:
    call = pytest_call("cd app && pytest ./test_a.py::test_x tests/")
    assert call is not None
    assert call.names("app/test_a.py")
    assert call.names("test_a.py")
    assert call.names("app/tests/unit/test_b.py")
    assert not call.names("app/test_c.py")
    assert not call.names("app/xtest_a.py")


@pytest.mark.parametrize("option", ["-k x", "-m slow", "test_a.py::test_x", "--deselect x", "--lf"])
def test_a_selection_is_one(option: str) -> None:
    call = pytest_call(f"pytest {option}")
    assert call is not None
    assert call.selects
    assert not call.may_probe


def test_commands_are_bare() -> None:
    assert commands("A=1 env B=2 make x && ! ./run; true") == [["make", "x"], ["./run"], ["true"]]

from __future__ import annotations

import configparser
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.checks.guard import Guard, SetAside
from pytest_goat.sandbox.base import File, Taken
from pytest_goat.task import RunCheck
from tests.checks.arena import files_of

CHECK = RunCheck(
    run="cd app && python -m pytest ../tests",
    files={"tests/unit/test_a.py": "", "tests/unit/data/x.json": ""},
)


def set_aside(
    left: dict[str, str],
    original: dict[str, str] | None = None,
    check: RunCheck = CHECK,
    refused: tuple[str, ...] = (),
) -> SetAside:
    return Guard(check).set_aside(files_of(original or {}), Taken(files_of(left), refused))


@pytest.mark.parametrize(
    "path",
    [
        "conftest.py",
        "deep/down/conftest.py",
        "pytest.ini",
        ".pytest.ini",
        "a/pytest.toml",
        ".pytest.toml",
        "sitecustomize.py",
        "a/usercustomize.py",
        "a/b.pth",
        ".python-version",
        "x-1.0.dist-info/entry_points.txt",
        "src/x.egg-info/entry_points.txt",
        "random.py",
        "random/__init__.py",
        "_random.cpython-311-x86_64-linux-gnu.so",
        "pytest.py",
        "pytest_goat/__init__.py",
        "app/json.py",
        "tests/json.py",
        "tests/unit/json.py",
        "tests/unit/data/json.py",
        "sub/app/json.py",
    ],
)
def test_new_ones_are_removed_and_noted(path: str) -> None:
    assert set_aside({path: "x"}) == SetAside({path: None}, [path])


@pytest.mark.parametrize("path", ["a.pyc", "__pycache__/a.cpython-311.pyc"])
def test_bytecode_is_removed_without_a_word(path: str) -> None:
    assert set_aside({path: "x"}) == SetAside({path: None}, [])


@pytest.mark.parametrize(
    "path",
    [
        "reverse.py",
        "Makefile",
        "package.json",
        "test_mine.py",
        "tests/helper.py",
        "tests/__init__.py",
        "src/package/logging.py",
        "src/logging.py",
        "random",
        "random.txt",
        "json/data.py",
        "entry_points.txt",
        ".git/hooks/pre-commit",
    ],
)
def test_the_work_stays(path: str) -> None:
    assert set_aside({path: "x"}) == SetAside()


@pytest.mark.parametrize("path", ["conftest.py", "pytest.ini", "sitecustomize.py"])
def test_what_the_task_gave_is_put_back(path: str) -> None:
    original = {path: "given"}
    assert set_aside({path: "given"}, original) == SetAside()
    given = File(b"given")
    assert set_aside({path: "changed"}, original) == SetAside({path: given}, [path])
    assert set_aside({}, original) == SetAside({path: given}, [path])


def test_a_module_that_the_task_named_so_is_the_work() -> None:
    assert set_aside({"calendar.py": "changed"}, {"calendar.py": "given"}) == SetAside()
    assert set_aside({}, {"calendar.py": "given"}) == SetAside()


@pytest.mark.parametrize(
    ("trust", "path"),
    [
        ("conftest.py", "conftest.py"),
        ("calendar.py", "calendar.py"),
        ("*.pth", "a.pth"),
        ("tests", "tests/conftest.py"),
        ("tests/", "tests/unit/conftest.py"),
        ("pyproject.toml", "pyproject.toml"),
    ],
)
def test_what_the_check_trusts_stays(trust: str, path: str) -> None:
    text = {"pyproject.toml": "[tool.pytest]\naddopts = ['-x']\n"}.get(path, "x")
    assert set_aside({path: text}, check=RunCheck(run="x", trust=(trust,))) == SetAside()
    assert set_aside({path: text}, check=RunCheck(run="x", trust=("other.py",))).files


@pytest.mark.parametrize("why", ["symlink", "hard link", "fifo"])
def test_a_link_by_a_watched_name_is_removed(why: str) -> None:
    refused = (f"conftest.py: {why}", f"random: {why}", f"pyproject.toml: {why}", f"other: {why}")
    assert set_aside({}, refused=refused).files == {
        "conftest.py": None,
        "random": None,
        "pyproject.toml": None,
    }


TOML = """\
[project]
name = "x"

[tool.pytest.ini_options]
addopts = "-p evil"

[tool.ruff]
line-length = 1
"""
GIVEN = '[project]\nname = "y"\n\n[tool.pytest.ini_options]\naddopts = "-q"\n'


def toml_after(left: str, original: str | None = None) -> dict[str, object]:
    given = {} if original is None else {"pyproject.toml": original}
    file = set_aside({"pyproject.toml": left}, given).files["pyproject.toml"]
    return tomllib.loads(file.data.decode()) if file else {}


def test_only_pytests_table_of_pyproject_is_exchanged() -> None:
    assert toml_after(TOML) == {"project": {"name": "x"}, "tool": {"ruff": {"line-length": 1}}}
    assert toml_after(TOML, GIVEN) == {
        "project": {"name": "x"},
        "tool": {"pytest": {"ini_options": {"addopts": "-q"}}, "ruff": {"line-length": 1}},
    }
    found = set_aside({"pyproject.toml": TOML}, {"pyproject.toml": GIVEN})
    assert found.noted == ["pytest's section of pyproject.toml"]


def test_pyproject_with_the_same_table_stays() -> None:
    changed = GIVEN.replace('"y"', '"z"')
    assert set_aside({"pyproject.toml": changed}, {"pyproject.toml": GIVEN}) == SetAside()
    assert set_aside({"pyproject.toml": '[project]\nname = "x"\n'}) == SetAside()


def test_a_removed_table_comes_back() -> None:
    assert toml_after('[project]\nname = "x"\n', GIVEN)["tool"] == {
        "pytest": {"ini_options": {"addopts": "-q"}}
    }
    assert set_aside({}, {"pyproject.toml": GIVEN}).files == files_of({"pyproject.toml": GIVEN})
    assert set_aside({}, {"pyproject.toml": '[project]\nname = "x"\n'}) == SetAside()


@pytest.mark.parametrize(
    "text",
    [
        'tool = {pytest = {ini_options = {addopts = "-p evil"}}}\n',
        'tool.pytest.ini_options.addopts = "-p evil"\n',
        '[tool]\npytest.ini_options.addopts = "-p evil"\n',
        '[tool]\n"pytest" = {addopts = ["-p", "evil"]}\n',
        '["tool".\'pytest\'.ini_options]\naddopts = "-p evil"\n',
        '[ tool . pytest . ini_options ] # x\naddopts = "-p evil"\n',
        '["too\\u006c"."pytest"]\naddopts = ["-p", "evil"]\n',
        'x = """\n[tool.pytest]\n"""\n[tool.pytest]\naddopts = ["-p", "evil"]\n',
        "[tool.pytest\n",
        "[" * 100_000,
    ],
)
def test_no_spelling_of_the_table_gets_through(text: str) -> None:
    assert "pytest" not in str(toml_after(text).get("tool"))
    assert toml_after(text, GIVEN)["tool"] == {"pytest": {"ini_options": {"addopts": "-q"}}}


tables = st.dictionaries(
    st.sampled_from(
        ["project", "tool.pytest", "tool.pytest.ini_options", "tool.ruff", "tool.pytest_x", "a.tool"]
    ),
    st.dictionaries(st.sampled_from(["addopts", "name", "pytest"]), st.text("ab[]#'"), max_size=2),
    max_size=5,
)


def as_toml(content: dict[str, dict[str, str]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items())
        for name, table in content.items()
    )


@given(mine=tables, theirs=tables)
def test_pytest_always_reads_what_the_task_gave(
    mine: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]
) -> None:
    left, original = as_toml(mine), as_toml(theirs)
    aside = set_aside({"pyproject.toml": left}, {"pyproject.toml": original})
    file = aside.files.get("pyproject.toml", File(left.encode()))
    assert file is not None
    found, given, written = (tomllib.loads(text) for text in (file.data.decode(), original, left))
    wanted = given.get("tool", {}).get("pytest")
    assert found.get("tool", {}).get("pytest") == wanted
    assert found.get("project") == written.get("project")


@pytest.mark.parametrize(("path", "section"), [("setup.cfg", "tool:pytest"), ("tox.ini", "pytest")])
def test_only_pytests_section_of_an_ini_is_exchanged(path: str, section: str) -> None:
    evil = f"[metadata]\nname = x\n[{section}]\naddopts =\n    [more]\n    -p evil\n[other]\na = b\n"
    given = f"[{section}]\naddopts = -q\n"
    file = set_aside({path: evil}).files[path]
    assert file is not None
    parsed = configparser.ConfigParser()
    parsed.read_string(file.data.decode())
    assert parsed.sections() == ["metadata", "other"]
    file = set_aside({path: evil}, {path: given}).files[path]
    assert file is not None
    parsed = configparser.ConfigParser()
    parsed.read_string(file.data.decode())
    assert parsed[section]["addopts"] == "-q"
    assert parsed["other"]["a"] == "b"
    assert set_aside({path: "[metadata]\nname = x\n"}) == SetAside()

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.checks import describe_failure
from pytest_goat.task import RunCheck
from tests.checks.arena import QUICK, Arena

TEST = "from work import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
GOOD = "def double(x):\n    return 2 * x\n"


def test_exit_code_0_passes(arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run="test -f a.txt && true"), left={"a.txt": ""})
    assert result.passed
    assert (result.score, result.seen, result.error) == (1.0, "", "")
    assert result.details == {"exit_code": 0, "set_aside": []}


@pytest.mark.parametrize(
    ("line", "exit_code", "seen"),
    [
        ("echo out; echo err >&2; exit 3", 3, "exit code 3\noutput:\n| out\n|\n| err"),
        ("false", 1, "exit code 1\nno output"),
        ("./not-there", 127, "./not-there"),
        ("cd nowhere && make", 1, "nowhere"),
        ("touch x; ./x", 126, "Permission denied"),
        ("kill -SEGV $$", -11, "it was ended by SIGSEGV"),
    ],
)
def test_any_other_fails_with_its_output(line: str, exit_code: int, seen: str, arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run=line))
    assert not result.passed
    assert not result.error
    assert result.details["exit_code"] == exit_code
    assert seen in result.seen
    assert result.expected == f"exit code 0, from: {line}"


def test_work_that_hangs_fails(arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run="echo begun; sleep 60", timeout=0.3))
    assert not result.passed
    assert not result.error
    assert result.seen == "it did not end within 0.3 s\noutput:\n| begun"


def test_work_that_takes_all_memory_fails(arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run="python -c 'x = bytearray(1 << 30)'"))
    assert not result.passed
    assert not result.error


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("no-such-tool --version", "no-such-tool"),
        ("cd . && A=1 no-such-tool", "no-such-tool"),
    ],
)
def test_a_command_that_the_sandbox_has_not_is_the_checks_fault(
    line: str, missing: str, arena: Arena
) -> None:
    [result] = arena.after_agent(RunCheck(run=line))
    assert result.error == f"the sandbox has no {missing}"
    assert not result.passed


def test_output_is_shown_from_its_end_without_colour(arena: Arena) -> None:
    line = r"seq 1000; printf '\033[31mred\033[0m\a\n'; head -c 1000000 /dev/zero | tr '\0' x >&2; exit 1"
    [result] = arena.after_agent(RunCheck(run=line))
    assert len(result.seen) < 5000
    assert "\x1b" not in result.seen
    [result] = arena.after_agent(RunCheck(run="seq 1000; exit 1"))
    assert result.seen.splitlines()[2:4] == ["| [...]", "| 961"]


def test_the_environment_is_clean(arena: Arena) -> None:
    script = "export SECRET=1; echo 'export SECRET=1' > ~/.bashrc; echo junk > ~/junk; echo junk > /tmp/junk"
    line = 'test -z "$SECRET$BASH_ENV$PYTHONPATH" && test -z "$(ls -A ~ /tmp | grep junk)"'
    [result] = arena.after_agent(RunCheck(run=line), script=script)
    assert result.passed, result.seen


def test_the_work_is_importable_from_where_python_looks(arena: Arena) -> None:
    results = arena.after_agent(
        RunCheck(run="python -c 'import work'"),
        RunCheck(run="python check.py", files={"check.py": "import work\n"}),
        RunCheck(run="python -m unittest -q test_it", files={"test_it.py": "import work\n"}),
        RunCheck(run=f"{QUICK} tests", files={"tests/test_it.py": TEST}),
        left={"work.py": GOOD},
    )
    assert [result.passed for result in results[:2]] == [True, True]
    assert results[3].passed, results[3].seen


def test_hidden_files_are_there_for_their_check_alone(arena: Arena) -> None:
    """What the agent has at their paths is put back, whatever it is."""
    hidden = {"a.txt": "hidden", "new/b.txt": "hidden", "folder": "hidden", "file/c.txt": "hidden"}
    look = "cat a.txt folder/x file; ls new"
    results = arena.after_agent(
        RunCheck(run="grep -q hidden a.txt new/b.txt folder file/c.txt", files=hidden),
        RunCheck(run="ls new/b.txt"),
        RunCheck(run=look + "; test $(cat a.txt)$(cat folder/x)$(cat file) = 123"),
        left={"a.txt": "1", "folder/x": "2", "file": "3"},
    )
    assert [result.passed for result in results] == [True, False, True], describe_failure(results)


def test_what_a_check_makes_is_there_for_the_next(arena: Arena) -> None:
    results = arena.after_agent(RunCheck(run="echo built > program"), RunCheck(run="grep built program"))
    assert [result.passed for result in results] == [True, True]


@pytest.mark.parametrize("taken", [False, True])
def test_what_is_set_aside_is_told(taken: bool, arena: Arena) -> None:
    check = RunCheck(run="cat conftest.py setup.cfg")
    left = {"conftest.py": "x", "setup.cfg": "[tool:pytest]\n"}
    [result] = arena.after_agent(check, left=left, taken=taken)
    assert result.details["set_aside"] == ["conftest.py", "pytest's section of setup.cfg"]
    assert "set aside, as the agent's doing: conftest.py, pytest's section of setup.cfg\n" in result.seen
    assert "`trust:`" in result.seen


def test_what_one_check_trusts_is_there_for_it_alone(arena: Arena) -> None:
    results = arena.after_agent(
        RunCheck(run="test ! -e conftest.py"),
        RunCheck(run="grep mine conftest.py", trust=("conftest.py",)),
        RunCheck(run="test ! -e conftest.py"),
        left={"conftest.py": "mine = 1\n"},
    )
    assert [result.passed for result in results] == [True, True, True], describe_failure(results)


def test_hidden_configuration_is_the_tasks_own(arena: Arena) -> None:
    files = {"conftest.py": "import pytest\n\n\n@pytest.fixture\ndef two():\n    return 2\n"}
    test = "from work import double\n\n\ndef test_double(two):\n    assert double(two) == 4\n"
    check = RunCheck(run=f"{QUICK}", files={**files, "test_it.py": test})
    [result] = arena.after_agent(check, left={"work.py": GOOD, "conftest.py": "raise SystemExit"})
    assert result.passed, result.seen


def test_the_tasks_own_configuration_keeps_working(arena: Arena) -> None:
    original = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\naddopts = "--strict-markers"\n',
        "src/work.py": "def double(x):\n    return x\n",
    }
    changed = {
        "src/work.py": GOOD,
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n[tool.pytest]\naddopts = ["--no-such"]\n',
    }
    check = RunCheck(run=f"{QUICK} tests", files={"tests/test_it.py": TEST})
    [result] = arena.after_agent(check, original=original, left=changed)
    assert result.passed, result.seen
    [result] = arena.after_agent(check, original=original)
    assert not result.passed


def test_failed_tests_are_shown_with_their_assertions(arena: Arena) -> None:
    check = RunCheck(
        run=f"{QUICK} test_it.py",
        files={"test_it.py": f"{TEST}\n\ndef test_more():\n    assert double(0) == 0\n"},
    )
    [result] = arena.after_agent(check, left={"work.py": "def double(x):\n    return x\n"})
    assert result.details["tests"] == 2
    assert result.details["failed"] == ["test_it::test_double"]
    assert result.seen.splitlines() == [
        "exit code 1",
        "1 of 2 tests failed:",
        "  test_it::test_double",
        "    >       assert double(2) == 4",
        "    E       assert 2 == 4",
        "    E        +  where 2 = double(2)",
    ]
    assert "1 failed, 1 passed" in result.details["output"]


def test_work_that_cannot_be_imported_is_shown_so(arena: Arena) -> None:
    check = RunCheck(run=f"{QUICK} test_it.py", files={"test_it.py": TEST})
    [result] = arena.after_agent(check)
    assert not result.error
    assert "No module named 'work'" in result.seen


def test_tests_may_skip_where_they_say_so(arena: Arena) -> None:
    skipping = "import pytest\n\n\n@pytest.mark.skipif(True, reason='')\ndef test_other():\n    pass\n"
    check = RunCheck(run=f"{QUICK} test_it.py", files={"test_it.py": f"{skipping}\n\n{TEST}"})
    [result] = arena.after_agent(check, left={"work.py": GOOD})
    assert result.passed, result.seen
    assert result.details["tests"] == 2


def test_an_expected_failure_of_pytest_can_be_checked(arena: Arena) -> None:
    """The agent's own tests have to notice a mutant: pytest's exit code is turned round by the line."""
    check = RunCheck(run=f"! {QUICK} test_mine.py", files={"work.py": "def double(x):\n    return x\n"})
    [result] = arena.after_agent(check, left={"work.py": GOOD, "test_mine.py": TEST})
    assert result.passed, result.seen
    [result] = arena.after_agent(check, left={"work.py": GOOD, "test_mine.py": "def test_a(): pass\n"})
    assert not result.passed


def test_files_of_the_host_are_put_with_their_mode(tmp_path: Path, arena: Arena) -> None:
    script = tmp_path / "check.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    [result] = arena.after_agent(RunCheck(run="./check.sh", files={"check.sh": script}))
    assert result.passed, result.seen


def test_a_file_of_the_host_that_is_gone_is_the_checks_fault(tmp_path: Path, arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run="true", files={"a": tmp_path / "gone"}))
    assert "cannot read" in result.error


def test_a_line_that_leaves_no_one_report_is_the_checks_fault(arena: Arena) -> None:
    [result] = arena.after_agent(RunCheck(run="pytest a && pytest b"))
    assert "more than once" in result.error

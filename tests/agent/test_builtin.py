"""`oracle` and `nop`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.agent.builtin import Nop, Oracle
from pytest_goat.errors import Cause, InfraError
from pytest_goat.sandbox.base import File
from pytest_goat.task import Solution
from tests.support.trials import ended, make_input


def test_neither_calls_a_model() -> None:
    for agent in (Oracle(), Nop()):
        agent.check()
        assert not agent.needs_model
        assert agent.mounts == ()


def test_nop_does_nothing_and_never_completes() -> None:
    given = make_input(solution=Solution("echo hello"))
    assert Nop().command(given).argv == ("true",)
    outcome = Nop().outcome(given, ended(), {})
    assert (outcome.completed, outcome.cause) == (False, Cause.NO_ANSWER)


def test_the_oracle_puts_and_runs_the_solution() -> None:
    given = make_input(solution=Solution("make it", {"a.py": "1"}))
    command = Oracle().command(given)
    assert (command.argv, command.work) == (("bash", "-c", "make it"), {"a.py": File(b"1")})
    assert Oracle().outcome(given, ended(stdout=b"42\n"), {}).answer == "42\n"
    assert Oracle().outcome(given, ended(), {}).completed
    crashed = Oracle().outcome(given, ended(2), {})
    assert (crashed.completed, crashed.cause) == (False, Cause.AGENT_CRASHED)


def test_files_alone_can_be_a_solution() -> None:
    command = Oracle().command(make_input(solution=Solution(files={"a.py": "1"})))
    assert (command.argv, list(command.work)) == (("bash", "-c", "true"), ["a.py"])


def test_a_file_of_the_solution_that_has_gone_is_no_wrong_answer(tmp_path: Path) -> None:
    given = make_input(solution=Solution(files={"a.py": tmp_path / "gone.py"}))
    with pytest.raises(InfraError, match=r"gone\.py"):
        Oracle().command(given)


def test_a_task_without_a_solution_is_not_solved() -> None:
    given = make_input()
    assert Oracle().command(given).argv == ("false",)
    outcome = Oracle().outcome(given, ended(1), {})
    assert (outcome.completed, outcome.cause) == (False, Cause.NO_ANSWER)
    assert "no `solution`" in outcome.message

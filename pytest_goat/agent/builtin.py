"""Two agents that call no model: they test the tasks themselves. `oracle` must pass all, `nop` fail all."""

from __future__ import annotations

from pytest_goat.agent.base import AgentInput, AgentOutcome, Command
from pytest_goat.agent.contract import plain_outcome
from pytest_goat.errors import Cause
from pytest_goat.sandbox.base import ExecResult, File, Files, Mount
from pytest_goat.workspace import read_files


class Nop:
    """Does nothing."""

    name = "nop"
    version = "1"
    needs_model = False
    mounts: tuple[Mount, ...] = ()

    def check(self) -> None:
        """Nothing can be missing."""

    def command(self, given: AgentInput) -> Command:
        return Command(argv=("true",))

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        return AgentOutcome("", False, Cause.NO_ANSWER, "nop does nothing")


class Oracle:
    """Runs the task's `solution`; what that prints is its answer."""

    name = "oracle"
    version = "1"
    needs_model = False
    mounts: tuple[Mount, ...] = ()

    def check(self) -> None:
        """Nothing can be missing."""

    def command(self, given: AgentInput) -> Command:
        solution = given.task.solution
        if solution is None:
            return Command(argv=("false",))
        work: dict[str, File] = read_files(solution.files)
        return Command(argv=("bash", "-c", solution.run or "true"), work=work)

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        if given.task.solution is None:
            return AgentOutcome("", False, Cause.NO_ANSWER, "the task has no `solution` to run")
        outcome = plain_outcome(result)
        if outcome.cause is Cause.NO_ANSWER:
            return AgentOutcome("", True)
        return outcome

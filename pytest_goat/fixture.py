"""The `goat` fixture: benchmarks written in Python.

    def test_fizzbuzz(goat):
        run = goat.run("Write fizzbuzz.py", files={"notes.txt": "start here"})
        assert run.exec("python fizzbuzz.py | tail -1").output == "buzz"

The test's outcome is the trial's: what its asserts say is stored as the verdict on every run that it made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import Usage
from pytest_goat.item import TrialError, trial_id
from pytest_goat.result import Status, TrialResult
from pytest_goat.sandbox.base import File
from pytest_goat.task import Limits, Source, Task, Trial
from pytest_goat.trial import TrialOutput, Workbench, execute

if TYPE_CHECKING:
    from pytest_goat.session import GoatSession


@dataclass(frozen=True, slots=True)
class Done:
    """How a command in the sandbox ended."""

    exit_code: int
    output: str
    """stdout, then stderr, without white space at the end."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


class Run:
    """What an agent did with a prompt. Its sandbox stays as the agent left it until the test ends."""

    def __init__(self, session: GoatSession, bench: Workbench, result: TrialResult) -> None:
        self._session, self._bench = session, bench
        self.result = result
        """As far as the agent and the gateway tell it: the test makes the checks."""

    @property
    def answer(self) -> str:
        """The agent's final text."""
        return self.result.answer

    @property
    def cause(self) -> Cause | None:
        """What kept the agent from its own end; None when it completed."""
        return self.result.cause

    @property
    def usage(self) -> Usage:
        """Tokens and USD, as the gateway saw them."""
        return self.result.usage

    def exec(self, line: str, *, timeout: float = 60.0) -> Done:
        """Run a line of bash in the workspace for at most `timeout` seconds."""
        ended = self._session.call(self._bench.sandbox.exec(["bash", "-c", line], timeout=timeout))
        return Done(ended.exit_code, (ended.stdout + ended.stderr).decode(errors="replace").rstrip())

    def read(self, path: str) -> str:
        """The text of a file of the workspace. Raises `FileNotFoundError`."""
        taken = self._session.call(self._bench.sandbox.take([path]))
        if path not in taken.files:
            raise FileNotFoundError(path)
        return taken.files[path].data.decode(errors="replace")

    def put(self, files: Mapping[str, str]) -> None:
        """Write files into the workspace: hidden tests, now that the agent has ended."""
        wanted = {path: File(text.encode()) for path, text in files.items()}
        self._session.call(self._bench.sandbox.put(wanted))


class Goat:
    """Runs agents for one test, and closes their sandboxes at its end."""

    def __init__(self, session: GoatSession, item: pytest.Item) -> None:
        self._session, self._item = session, item
        self._benches: list[Workbench] = []
        self.outputs: list[TrialOutput] = []
        """Of every run so far; the test's own outcome is still to come."""

    def run(
        self,
        prompt: str,
        *,
        files: Mapping[str, str] | None = None,
        model: str | None = None,
        max_turns: int = 30,
        timeout: float = 300.0,
    ) -> Run:
        """Give `prompt` to the agent in a fresh sandbox whose workspace holds `files`, and wait for it.

        `model`: one of those of `--goat-model` (the first by default); `timeout` in seconds. A failure of
        infrastructure ends the test as an error.
        """
        number = len(self.outputs) + 1
        name = self._item.name if number == 1 else f"{self._item.name}-{number}"
        path, line, _ = self._item.location
        task = Task(
            id=name,
            prompt=prompt,
            source=Source(Path(path), (line or 0) + 1),
            files=dict(files or {}),
            limits=Limits(max_turns=max_turns, timeout=timeout),
        )
        node_id = self._item.nodeid
        model = model or self._session.labels[0]
        trial = Trial(trial_id(f"{node_id}#{number}", name), node_id, task, model)
        try:
            rig = self._session.start([trial])
        except UserError as error:
            pytest.fail(str(error), pytrace=False)
        return self._session.call(self._execute(Workbench(trial, rig)))

    async def _execute(self, bench: Workbench) -> Run:
        self._benches.append(bench)
        output = await execute(bench)
        self.outputs.append(output)
        if output.result.status is Status.ERROR:
            raise TrialError(self._session.failure_text(output.result))
        return Run(self._session, bench, output.result)

    def close(self) -> None:
        """End the sandboxes."""
        for bench in self._benches:
            self._session.call(bench.close())


def judged(output: TrialOutput, call: pytest.CallInfo[None]) -> TrialOutput:
    """The output with the test's own outcome as its verdict; an infrastructure error stays one."""
    result = output.result
    if result.status is not Status.ERROR:
        status, cause, message = Status.PASSED, None, ""
        if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
            status, message = Status.SKIPPED, str(call.excinfo.value)
        elif call.excinfo is not None:
            status, cause = Status.FAILED, result.cause or Cause.CHECKS_FAILED
            message = call.excinfo.exconly().partition("\n")[0]
        result = dataclasses.replace(result, status=status, cause=cause, message=message, unchecked=False)
    return dataclasses.replace(output, result=result)

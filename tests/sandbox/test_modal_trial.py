"""Whole trials on Modal: their verdicts, and how many calls they take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_goat.agent.base import Agent
from pytest_goat.agent.builtin import Nop, Oracle
from pytest_goat.errors import Cause
from pytest_goat.result import Status, TrialResult
from pytest_goat.sandbox.base import SandboxSpec
from pytest_goat.task import FileCheck, Limits, RunCheck, Solution, Task, Trial
from pytest_goat.trial import Rig, run_trial
from tests.modal_server.faults import ALWAYS
from tests.sandbox.modal_bench import make_backend, needs_root, server_for_this_process
from tests.support.modal import RunningServer
from tests.support.trials import make_task

pytestmark = needs_root

HIDDEN = "from add import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
TASK = make_task(
    files={"notes.txt": "start here"},
    checks=(
        FileCheck(file="add.py", contains=("def add",)),
        RunCheck(run="python -m pytest -q test_add.py", files={"test_add.py": HIDDEN}),
        RunCheck(run="test -e notes.txt && test ! -e test_add.py"),
        RunCheck(run="test -x tool && ./tool"),
    ),
    solution=Solution(
        run="printf '#!/bin/sh\\nexit 0\\n' > tool; chmod +x tool",
        files={"add.py": "def add(a, b):\n    return a + b\n"},
    ),
)
COMMANDS = 4
"""The agent's, and one for each `run` check."""


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with server_for_this_process() as running:
        yield running


@pytest.fixture
def server(running_server: RunningServer) -> Iterator[RunningServer]:
    running_server.reset_calls()
    yield running_server
    running_server.clear_faults()
    assert running_server.live() == []


Run = Callable[..., tuple[TrialResult, dict[str, int]]]


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Run:
    """Runs a trial of a task; its result, and the calls that it took."""

    async def one(task: Task, agent: Agent) -> tuple[TrialResult, dict[str, int]]:
        backend = make_backend(tmp_path)
        await backend.start()
        server.reset_calls()
        rig = Rig("run", backend, agent, cast(Any, None), backoff=0.0)
        try:
            output = await run_trial(Trial("add-1", "add", task, "oracle"), rig)
            return output.result, server.calls()
        finally:
            await backend.stop()

    def run_one(task: Task, agent: Agent | None = None) -> tuple[TrialResult, dict[str, int]]:
        return asyncio.run(one(task, agent or Oracle()))

    return run_one


def test_a_trial_takes_two_calls_beside_its_commands(run: Run) -> None:
    run(TASK)  # the first one of a process asks for a token
    result, calls = run(TASK)
    assert result.status is Status.PASSED, result
    assert calls == {
        "SandboxCreateV2": 1,
        "TaskExecStart": COMMANDS,
        "TaskExecStdinWrite": COMMANDS,
        "TaskExecStdioRead": COMMANDS,
        "SandboxTerminateV2": 1,
    }


def test_more_than_comes_with_a_reply_is_asked_for(run: Run) -> None:
    big = make_task(
        checks=(RunCheck(run="test $(stat -c %s big) = 12000000"),),
        solution=Solution(run="head -c 12000000 /dev/zero > big"),
    )
    result, calls = run(big)
    assert result.status is Status.PASSED, result
    assert calls["TaskExecStart"] == 3
    assert result.changed == {"big": "added"}


def test_wrong_work_fails(run: Run) -> None:
    result, _ = run(TASK, Nop())
    assert (result.status, result.score) == (Status.FAILED, 0.25)


def test_a_full_disk_is_the_agents_fault(run: Run) -> None:
    full = make_task(
        limits=Limits(disk_mb=8),
        checks=(RunCheck(run="python hidden.py", files={"hidden.py": "x = 1"}),),
        solution=Solution(run="for i in 1 2 3; do head -c 4000000 /dev/zero > $i; done"),
    )
    result, _ = run(full)
    assert result.status is Status.FAILED, result
    assert "no room" in result.checks[0].seen


def test_files_that_cannot_be_put_for_a_check_are_the_agents_fault(run: Run) -> None:
    hindered = make_task(
        checks=(RunCheck(run="true", files={"x" * 300: ""}),),
        solution=Solution(run="true"),
    )
    result, _ = run(hindered)
    assert result.status is Status.FAILED, result
    assert "no room" in result.checks[0].seen


def test_a_lost_sandbox_is_tried_again_in_a_new_one(run: Run, server: RunningServer) -> None:
    server.fault("TaskExecStart", "not_found", times=1)
    result, calls = run(TASK)
    assert result.status is Status.PASSED, result
    assert [attempt.cause for attempt in result.attempts] == [Cause.SANDBOX_LOST]
    assert (calls["SandboxCreateV2"], calls["SandboxTerminateV2"]) == (2, 2)


def test_what_is_never_allowed_is_not_tried_again(run: Run, server: RunningServer) -> None:
    server.fault("SandboxCreateV2", "permission_denied", times=ALWAYS)
    result, calls = run(TASK)
    assert (result.status, result.cause, result.attempts) == (Status.ERROR, Cause.SETUP, ())
    assert calls["SandboxCreateV2"] == 1


def test_more_time_takes_one_call_more_and_only_when_it_is_over(
    server: RunningServer, tmp_path: Path
) -> None:
    async def none() -> float:
        return 0.0

    async def work() -> tuple[int, int]:
        backend = make_backend(tmp_path)
        await backend.start()
        try:
            sandbox = await backend.open(SandboxSpec("trial"))
            writes = []
            for command in ("true", "sleep 60"):
                server.reset_calls()
                result = await sandbox.exec(["sh", "-c", command], timeout=2, extra=none)
                assert result.timed_out == (command != "true")
                writes.append(server.calls()["TaskExecStdinWrite"])
            return writes[0], writes[1]
        finally:
            await backend.stop()

    assert asyncio.run(work()) == (1, 2)

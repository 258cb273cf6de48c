"""goat-eval and binaries that keep its contract: what they are given, and how their ends are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_goat.agent.contract import MESSAGE_MAX, PROGRAM, RESULT_MAX, GoatEval
from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import Usage
from pytest_goat.sandbox.base import File
from pytest_goat.task import Limits
from tests.support.results import json_values
from tests.support.trials import ended, make_input


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> GoatEval:
    program = tmp_path_factory.mktemp("bin") / "my-eval"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    return GoatEval(program)


def left(told: Any) -> dict[str, File]:
    return {"result.json": File(told if isinstance(told, bytes) else json.dumps(told).encode())}


def test_the_command_keeps_the_contract(agent: GoatEval) -> None:
    command = agent.command(make_input(limits=Limits(max_turns=7, timeout=60)))
    assert command.argv == (PROGRAM, "-cwd", "/box/work", "-max-turns", "7")
    assert command.stdin == b"Do it."
    assert command.env == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8000/v1",
        "OPENAI_API_KEY": "trial-token",
        "EVAL_MODEL": "test-model",
        "NO_PROXY": "*",
        "GOAT_RESULT_FILE": "/box/out/result.json",
        "GOAT_TRAJECTORY_FILE": "/box/out/trajectory.jsonl",
        "GOAT_DEADLINE_S": "58",
        "GOAT_IDLE_S": "3660",
        "GOAT_RUN_ID": "hello-1",
    }
    assert [(mount.target, Path(mount.source).name) for mount in agent.mounts] == [(PROGRAM, "my-eval")]


@pytest.mark.parametrize("timeout", [0.1, 1.0, 4.0, 8.0, 300.0])
def test_a_hung_model_is_noticed_before_the_agent_stops_by_itself(agent: GoatEval, timeout: float) -> None:
    deadline = float(agent.command(make_input(limits=Limits(timeout=timeout))).env["GOAT_DEADLINE_S"])
    assert timeout / 2 < deadline < timeout


def test_the_bundled_agent_is_run_by_python(agent: GoatEval, tmp_path: Path) -> None:
    (tmp_path / "built").write_bytes(b"zip")
    bundled = GoatEval(tmp_path / "built", bundled=True)
    assert bundled.command(make_input()).argv[:4] == ("python3", "-I", "-S", PROGRAM)
    assert (bundled.name, agent.name) == ("goat-eval", "my-eval")
    assert bundled.version != agent.version


@pytest.mark.parametrize(
    ("status", "completed", "cause"),
    [
        ("completed", True, None),
        ("max_turns", False, Cause.TURN_LIMIT),
        ("max_tokens", False, Cause.LENGTH_CUT),
        ("context_overflow", False, Cause.CONTEXT_OVERFLOW),
        ("refused", False, Cause.REFUSAL),
        ("deadline", False, Cause.TIMEOUT),
        ("interrupted", False, Cause.AGENT_CRASHED),
        ("config_error", False, Cause.AGENT_CRASHED),
        ("llm_error", False, None),
        ("something newer", False, None),
    ],
)
def test_the_result_file_tells_how_it_ended(
    agent: GoatEval, status: str, completed: bool, cause: Cause | None
) -> None:
    told = {"status": status, "final_text": "so far", "error": {"message": "two\nlines"}}
    outcome = agent.outcome(make_input(), ended(stdout=b"not this"), left(told))
    assert (outcome.completed, outcome.cause) == (completed, cause)
    assert (outcome.answer, outcome.message) == ("so far", "two lines")


def test_the_result_file_tells_what_it_took(agent: GoatEval) -> None:
    told = {
        "status": "completed",
        "turns": 3,
        "usage": {"prompt": 10, "cached": 2, "completion": 5, "reasoning": 1, "total": 15},
        "tool_calls": {"Bash": 2},
        "secret plans": "not kept",
    }
    files = left(told) | {"trajectory.jsonl": File(b'{"event": "start"}\n')}
    outcome = agent.outcome(make_input(), ended(), files)
    assert (outcome.turns, outcome.usage) == (3, Usage(10, 2, 5, 1))
    assert outcome.details == {"tool_calls": {"Bash": 2}}
    assert outcome.trajectory == b'{"event": "start"}\n'


@pytest.mark.parametrize(
    ("result", "answer", "completed", "cause"),
    [
        (ended(stdout=b"Done.\n"), "Done.\n", True, None),
        (ended(stdout=b" \n"), "", False, Cause.NO_ANSWER),
        (ended(3, b"half"), "half", False, Cause.AGENT_CRASHED),
        (ended(-9, b"half", timed_out=True), "half", False, Cause.TIMEOUT),
        (ended(-9, b"half", limit="memory"), "half", False, Cause.AGENT_CRASHED),
        (ended(stdout=b"caf\xe9"), "caf\ufffd", True, None),
    ],
)
@pytest.mark.parametrize("files", [{}, left(b"{"), left([1]), left(b" " * RESULT_MAX + b"{}")])
def test_without_a_result_file_exit_and_stdout_have_to_do(
    agent: GoatEval, result: Any, answer: str, completed: bool, cause: Cause | None, files: dict[str, File]
) -> None:
    outcome = agent.outcome(make_input(), result, files)
    assert (outcome.answer, outcome.completed, outcome.cause) == (answer, completed, cause)


@settings(max_examples=100, deadline=None)
@given(
    told=st.binary(max_size=40)
    | json_values
    | st.dictionaries(
        st.sampled_from(["status", "final_text", "error", "turns", "usage", "llm", "message", "prompt"]),
        json_values,
    )
)
def test_whatever_the_sandbox_left_is_read(told: Any) -> None:
    outcome = GoatEval(Path(__file__)).outcome(make_input(), ended(), left(told))
    assert isinstance(outcome.answer, str)
    assert outcome.turns is None or outcome.turns >= 0


def test_what_it_says_of_its_error_is_bounded(agent: GoatEval) -> None:
    told = {"status": "deadline", "error": {"message": "x" * 10_000}}
    assert len(agent.outcome(make_input(), ended(), left(told)).message) == MESSAGE_MAX


def test_a_program_that_cannot_run_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "eval"
    program.write_bytes(b"x")
    with pytest.raises(UserError, match=f"chmod \\+x {program}"):
        GoatEval(program).check()
    program.chmod(0o755)
    GoatEval(program).check()
    with pytest.raises(UserError, match="cannot read"):
        GoatEval(tmp_path / "gone")

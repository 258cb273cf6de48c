"""Signals, the deadline, and the records that are left in every case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.agent_run import PYTHON, AgentRunner, Ran, processes_with
from tests.support.model_server import Answer, Hang, ModelServer, Reply, Status, ToolCall


def stopped(agent: AgentRunner, script: list[Reply], requests: int, signum: int, env: dict[str, str]) -> Ran:
    """A run that is sent `signum` once the model has had `requests`."""
    with ModelServer(script) as server:
        process = agent.start(server.url, "-prompt", "x", env=env)
        server.wait_for(requests)
        process.send_signal(signum)
        return agent.finish(process, server.requests)


class TestSignals:
    def test_sigterm_is_death_with_a_result(self, agent: AgentRunner) -> None:
        spoken = Answer("so far", tools=[ToolCall("Bash", {"command": "echo"})])
        ran = stopped(agent, [spoken, Hang()], 2, signal.SIGTERM, {})
        assert (ran.code, ran.stdout) == (-signal.SIGTERM, "")
        assert (ran.result["status"], ran.result["final_text"], ran.result["turns"]) == (
            "interrupted",
            "so far",
            1,
        )
        assert ran.events[-1]["type"] == "end"

    def test_sigterm_while_a_command_runs(self, agent: AgentRunner) -> None:
        seconds = f"2000.{uuid.uuid4().int % 10**9}"
        os.mkfifo(agent.work / "ready")
        command = f"setsid sleep {seconds} & echo >ready; sleep {seconds}"
        with ModelServer([Answer(tools=[ToolCall("Bash", {"command": command})])]) as server:
            process = agent.start(server.url, "-prompt", "x")
            (agent.work / "ready").read_text()
            process.send_signal(signal.SIGTERM)
            ran = agent.finish(process, server.requests)
        assert ran.result["status"] == "interrupted"
        assert processes_with(seconds) == []

    def test_sigterm_strict(self, agent: AgentRunner) -> None:
        assert stopped(agent, [Hang()], 1, signal.SIGTERM, {"GOAT_STRICT_EXIT": "1"}).code == 143

    @pytest.mark.parametrize(("strict", "code"), [("0", 0), ("1", 130)])
    def test_sigint(self, agent: AgentRunner, strict: str, code: int) -> None:
        ran = stopped(agent, [Hang()], 1, signal.SIGINT, {"GOAT_STRICT_EXIT": strict})
        assert (ran.code, ran.stdout, ran.result["status"]) == (code, "", "interrupted")

    def test_between_two_attempts(self, agent: AgentRunner) -> None:
        ran = stopped(agent, [Status(500)] * 4, 1, signal.SIGINT, {"GOAT_BACKOFF_S": "100"})
        assert ran.result["status"] == "interrupted"


class TestDeadline:
    @pytest.mark.parametrize(("strict", "code"), [("", 0), ("1", 124)])
    def test_a_model_that_hangs(self, agent: AgentRunner, strict: str, code: int) -> None:
        ran = agent.run([Hang()], env={"GOAT_DEADLINE_S": "0.3", "GOAT_STRICT_EXIT": strict})
        assert (ran.code, ran.result["status"]) == (code, "deadline")
        assert ran.stderr == "error: the deadline of 0.3 s has passed\n"
        assert ran.result["timings"]["total"] < 5

    def test_a_model_that_dawdles(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer("x" * 100, pieces=100, delay=0.05)], env={"GOAT_DEADLINE_S": "0.4"})
        assert ran.result["status"] == "deadline"

    def test_a_run_that_is_quicker(self, agent: AgentRunner) -> None:
        assert agent.run(env={"GOAT_DEADLINE_S": "30"}).result["status"] == "completed"


def test_a_tool_that_takes_too_long_is_ended_and_the_run_goes_on() -> None:
    program = """
import re
from pytest_goat.goat_eval.errors import ToolError
from pytest_goat.goat_eval.signals import Signals

signals = Signals()
signals.listen(deadline=30)
try:
    with signals.limit(0.05):
        re.search("(a+)+$", "a" * 60 + "b")
except ToolError as error:
    print(error)
with signals.limit(5):
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "it took longer than 0.05 s; ask for less at once\n"


class TestResult:
    def test_all_of_it(self, agent: AgentRunner) -> None:
        calls = [
            ToolCall("Bash", {"command": "sleep 0.02"}),
            ToolCall("Bash", {"command": "false"}),
            ToolCall("No"),
        ]
        ran = agent.run([Status(429), Answer(tools=calls, model="served"), Answer("fin", model="served")])
        result = ran.result
        timings = result.pop("timings")
        assert result == {
            "schema": "goat-result/1",
            "status": "completed",
            "final_text": "fin",
            "turns": 2,
            "tool_calls": {"Bash": 2, "No": 1, "errors": 2},
            "usage": {"prompt": 20, "completion": 10, "cached": 0, "reasoning": 0, "total": 30},
            "llm": {"requests": 3, "retries": 1, "last_http_status": 200, "models_served": ["served"]},
            "error": None,
            "agent": {"name": "goat-eval", "version": "1.0"},
        }
        assert timings["tools"] >= 0.02
        assert timings["backoff"] >= 0.01
        assert sum(timings[part] for part in ("llm", "tools", "backoff")) <= timings["total"]

    def test_it_replaces_the_last_one_whole(self, agent: AgentRunner) -> None:
        (agent.out / "result.json").write_text("old " * 10_000)
        assert agent.run().result["final_text"] == "done"
        assert sorted(path.name for path in agent.out.iterdir()) == ["result.json", "trajectory.jsonl"]

    def test_where_it_cannot_be_written(self, agent: AgentRunner) -> None:
        ran = agent.run(env={"GOAT_RESULT_FILE": "/proc/nowhere/result.json"})
        assert (ran.code, ran.stdout) == (0, "done")
        assert ran.stderr.startswith(
            "warning: the result cannot be written to /proc/nowhere/result.json: No such"
        )

    @pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "2>&-"])
    def test_streams_that_take_nothing(self, agent: AgentRunner, redirection: str) -> None:
        shell = ("sh", "-c", f'exec "$0" "$@" {redirection}', *PYTHON)
        ran = agent.run([Answer("so"), Status(400)], "-multi-turn", stdin=b"more\n", python=shell)
        assert (ran.code, ran.result["status"]) == (0, "llm_error")

    def test_without_the_variables_nothing_is_written(self, agent: AgentRunner) -> None:
        agent.run(env={"GOAT_RESULT_FILE": "", "GOAT_TRAJECTORY_FILE": ""})
        assert list(agent.out.iterdir()) == []


class TestTrajectory:
    def test_every_event(self, agent: AgentRunner) -> None:
        call = ToolCall("Bash", {"command": "echo é"}, "id-1")
        ran = agent.run(
            [Answer("a", tools=[call], reasoning="hm"), Status(500), Answer("b")], env={"GOAT_RUN_ID": "r"}
        )
        start, *rest = ran.events
        assert [e["type"] for e in rest] == [
            "request",
            "assistant",
            "tool",
            "request",
            "error",
            "request",
            "assistant",
            "end",
        ]
        assert (start["schema"], start["run_id"], start["prompt"]) == ("goat-trajectory/1", "r", "do it")
        assert (start["model"], start["cwd"], start["max_turns"]) == ("test-model", str(agent.work), 100)
        assert rest[0]["bytes"] == len(ran.requests[0].body)
        assert rest[1]["tool_calls"] == [
            {"id": "id-1", "name": "Bash", "arguments": '{"command": "echo \\u00e9"}'}
        ]
        assert (rest[1]["text"], rest[1]["reasoning"], rest[1]["finish_reason"]) == ("a", "hm", "tool_calls")
        assert (rest[2]["id"], rest[2]["output"], rest[2]["error"], rest[2]["turn"]) == (
            "id-1",
            "é",
            False,
            1,
        )
        assert (rest[4]["turn"], rest[4]["attempt"], rest[4]["http_status"]) == (2, 1, 500)
        assert (rest[5]["attempt"], rest[7]["status"]) == (2, "completed")
        times = [event["t"] for event in ran.events]
        assert times == sorted(times)

    def test_a_full_disk_ends_it_but_not_the_run(self, agent: AgentRunner) -> None:
        ran = agent.run(env={"GOAT_TRAJECTORY_FILE": "/dev/full"})
        assert (ran.code, ran.stdout, ran.result["status"]) == (0, "done", "completed")
        assert ran.stderr == "warning: the trajectory ends here: No space left on device\n"

    def test_events_are_there_while_the_run_goes_on(self, agent: AgentRunner) -> None:
        with ModelServer([Hang()]) as server:
            process = agent.start(server.url, "-prompt", "x")
            server.wait_for(1)
            lines = Path(agent.out / "trajectory.jsonl").read_text().splitlines()
            process.kill()
            agent.finish(process, server.requests)
        assert [json.loads(line)["type"] for line in lines] == ["start", "request"]

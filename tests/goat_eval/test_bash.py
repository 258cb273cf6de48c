"""Bash: what the model is told, what is killed, and what a command can see."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from tests.support.agent_run import KEY, AgentRunner, processes_with
from tests.support.model_server import Answer, ModelServer, ToolCall


def bash(command: str, **arguments: object) -> ToolCall:
    return ToolCall("Bash", {"command": command, **arguments})


@pytest.fixture
def seconds() -> str:
    """A number of seconds that no other `sleep` on this machine has: it finds the process again."""
    return f"{1000 + uuid.uuid4().int % 10**6}.{uuid.uuid4().int % 10**9}"


class TestOutput:
    def test_streams_are_merged_in_order(self, agent: AgentRunner) -> None:
        assert agent.bash("echo one; echo two >&2; echo three; echo; echo") == ["one\ntwo\nthree"]

    @pytest.mark.parametrize(
        ("command", "output"),
        [
            ("false", "Error: [exit code 1]"),
            ("echo out; exit 3", "Error: [exit code 3]\nout"),
            ("kill -9 $$", "Error: [exit code 137]"),
            ("true", ""),
            ("printf 'a\\xffb'", "a\ufffdb"),
        ],
    )
    def test_exit_codes(self, agent: AgentRunner, command: str, output: str) -> None:
        assert agent.bash(command) == [output]

    def test_head_and_tail_of_a_long_output(self, agent: AgentRunner) -> None:
        (output,) = agent.bash("echo first; for i in {1..2000}; do echo $i-漢漢漢漢漢漢漢; done; echo last")
        assert output.startswith("first\n1-漢")
        assert output.endswith("2000-漢漢漢漢漢漢漢\nlast")
        assert "\ufffd" not in output
        assert 29_900 < len(output.encode()) < 30_300
        assert "bytes cut; all of it is in " in output

    def test_the_whole_of_a_long_output_can_be_looked_at(self, agent: AgentRunner) -> None:
        def script(request: dict[str, object], headers: object) -> Answer:
            messages = request["messages"]
            assert isinstance(messages, list)
            if len(messages) == 2:
                return Answer(tools=[bash("seq 20000")])
            if len(messages) == 4:
                path = messages[3]["content"].partition("all of it is in ")[2].partition("]")[0]
                return Answer(tools=[ToolCall("Read", {"file_path": path, "offset": 12345, "limit": 1})])
            return Answer("ok")

        assert agent.run(script).outputs[1].splitlines()[0] == " 12345\t12345"

    def test_a_flood_is_stopped(self, agent: AgentRunner) -> None:
        (output,) = agent.bash("yes")
        assert output.startswith("Error: the command was killed because it wrote more than 67108864 bytes")

    def test_no_input(self, agent: AgentRunner) -> None:
        assert agent.bash("cat; echo end") == ["end"]

    @pytest.mark.parametrize("arguments", [{}, {"command": ""}, {"command": 3}])
    def test_a_command_is_needed(self, agent: AgentRunner, arguments: dict[str, object]) -> None:
        assert agent.call(ToolCall("Bash", arguments)) == ["Error: command is required"]


class TestPlace:
    def test_every_call_is_a_new_shell_in_the_working_directory(self, agent: AgentRunner) -> None:
        assert agent.bash("cd /; export A=1", "pwd; echo $A") == ["", str(agent.work)]

    def test_a_working_directory_that_is_not_there(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer(tools=[bash("pwd")]), Answer("ok")], "-cwd", "/proc/nowhere/at/all")
        assert ran.outputs == ["Error: the working directory /proc/nowhere/at/all is not there"]
        assert ran.code == 0

    def test_no_bash(self, agent: AgentRunner, tmp_path: Path) -> None:
        assert agent.bash("pwd", env={"PATH": str(tmp_path)}) == [
            "Error: cannot start bash: No such file or directory"
        ]

    def test_no_folder_for_output(self, agent: AgentRunner) -> None:
        (output,) = agent.bash("pwd", env={"TMPDIR": "/proc/nowhere"})
        assert output.startswith("Error: no folder for output can be made at /proc/nowhere/goat-")

    def test_a_command_that_removes_temporary_files(self, agent: AgentRunner) -> None:
        outputs = agent.bash(f"rm -rf {agent.out}/goat-*; echo gone", "seq 20000 | tail -1", "seq 20000")
        assert outputs[:2] == ["gone", "20000"]
        assert outputs[2].endswith("20000")


class TestTime:
    def test_a_timeout_kills_all_that_the_command_started(self, agent: AgentRunner, seconds: str) -> None:
        command = f"echo before; sleep {seconds} & sleep {seconds}; echo after"
        (output,) = agent.call(bash(command, timeout=300))
        assert (
            output
            == "Error: command timed out after 0.3s; it was killed, with all that it had started\nbefore"
        )
        assert processes_with(seconds) == []

    def test_it_is_killed_at_once_and_not_at_the_end(self, agent: AgentRunner, seconds: str) -> None:
        look = (
            f"cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep {seconds[:-1]}[{seconds[-1]}]'"
        )
        outputs = agent.call(bash(f"sleep {seconds} & sleep {seconds}", timeout=200), bash(look))
        assert outputs[1] == "Error: [exit code 1]\n0"

    @pytest.mark.parametrize("timeout", ["100", True, -5, 0, None])
    def test_a_timeout_that_is_no_number_is_not_one(self, agent: AgentRunner, timeout: object) -> None:
        assert agent.call(bash("sleep 0.2; echo end", timeout=timeout)) == ["end"]

    def test_a_child_that_holds_the_output_does_not_hold_up_the_answer(
        self, agent: AgentRunner, seconds: str
    ) -> None:
        began = time.monotonic()
        assert agent.bash(f"sleep {seconds} & echo started") == ["started"]
        assert time.monotonic() - began < 20


class TestLeftovers:
    @pytest.mark.parametrize(
        "command",
        [
            "sleep {} &",
            "nohup sleep {} >/dev/null 2>&1 &",
            "setsid sleep {} &",
            "(setsid bash -c 'trap \"\" TERM HUP; (setsid sleep {} &) ; sleep {}' &)",
        ],
    )
    def test_nothing_outlives_the_run(self, agent: AgentRunner, seconds: str, command: str) -> None:
        found = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -qx '{seconds}'"
        alive = f"until {found}; do sleep 0.01; done; echo alive"
        outputs = agent.bash(command.replace("{}", seconds), "true", alive)
        assert outputs == ["", "", "alive"], "it lives as long as the run does"
        assert processes_with(seconds) == []

    def test_a_server_can_be_used_by_later_calls(self, agent: AgentRunner) -> None:
        start = "coproc_dir=$PWD; mkfifo q a; (while true; do read x <q; echo got $x >a; echo log; done) &"
        outputs = agent.bash(start, "echo hi >q; cat a")
        assert outputs == ["", "got hi"]

    def test_background(self, agent: AgentRunner, seconds: str) -> None:
        def script(request: dict[str, object], headers: object) -> Answer:
            messages = request["messages"]
            assert isinstance(messages, list)
            if len(messages) == 2:
                command = f"echo out; echo err >&2; touch started; sleep {seconds}"
                return Answer(tools=[bash(command, run_in_background=True, timeout=1)])
            if len(messages) == 4:
                path = messages[3]["content"].partition("output goes to ")[2].partition(":")[0]
                wait = bash("while [ ! -e started ]; do sleep 0.01; done")
                return Answer(tools=[wait, ToolCall("Read", {"file_path": path})])
            return Answer("ok")

        started, _, read = agent.run(script).outputs
        assert started.startswith("Task started in background with ID: ")
        assert read == "     1\tout\n     2\terr"
        assert processes_with(seconds) == []

    def test_no_file_is_left(self, agent: AgentRunner) -> None:
        agent.bash("seq 20000", "echo x &")
        assert sorted(path.name for path in agent.out.iterdir()) == ["result.json", "trajectory.jsonl"]


class TestSecrets:
    def test_the_key_and_our_variables_are_not_in_the_environment(self, agent: AgentRunner) -> None:
        (output,) = agent.bash(
            "env", env={"GOAT_RUN_ID": "r", "GOAT_STRICT_EXIT": "", "KEPT": "yes", "GOAT_OTHER": "o"}
        )
        names = {line.partition("=")[0] for line in output.splitlines()}
        assert {"KEPT", "GOAT_OTHER", "EVAL_MODEL", "OPENAI_BASE_URL"} <= names
        assert not names & {"OPENAI_API_KEY", "GOAT_RUN_ID", "GOAT_RESULT_FILE", "GOAT_TRAJECTORY_FILE"}

    def test_the_agents_own_environment_does_not_show_the_key(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer(tools=[bash("tr '\\0' '\\n' </proc/$PPID/environ")]), Answer("ok")])
        assert f"OPENAI_API_KEY={'x' * len(KEY)}" in ran.outputs[0].splitlines()
        assert ran.requests[1].headers["authorization"] == f"Bearer {KEY}"


def test_a_call_that_is_interrupted_leaves_nothing(agent: AgentRunner, seconds: str) -> None:
    with ModelServer([Answer(tools=[bash(f"touch ready; sleep {seconds}")])]) as server:
        process = agent.start(server.url, "-prompt", "x", env={"GOAT_DEADLINE_S": "0.7"})
        ran = agent.finish(process, server.requests)
    assert (agent.work / "ready").exists()
    assert ran.result["status"] == "deadline"
    assert processes_with(seconds) == []

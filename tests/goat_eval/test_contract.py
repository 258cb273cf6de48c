"""The contract of the command line: prompt in, answer out, exit codes, and what the model is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.agent_run import KEY, AgentRunner
from tests.support.model_server import Answer, ModelServer, Raw, Request, Status, ToolCall

ECHO = ToolCall("Bash", {"command": "echo hello"})


def test_a_run_of_three_turns(agent: AgentRunner) -> None:
    write = ToolCall("Write", {"file_path": str(agent.work / "a.txt"), "content": "hello\n"})
    ran = agent.run([Answer("I write.", tools=[write]), Answer(tools=[ECHO]), Answer("All done.")])
    assert (ran.code, ran.stdout, ran.stderr) == (0, "All done.", "")
    assert (agent.work / "a.txt").read_text() == "hello\n"
    assert ran.outputs[1] == "hello"


class TestPrompt:
    def sent(self, requests: list[Request]) -> str:
        return str(requests[0].json["messages"][1]["content"])

    def test_flag(self, agent: AgentRunner) -> None:
        assert self.sent(agent.run(prompt="  do\n it\n").requests) == "  do\n it\n"

    def test_stdin_is_taken_whole(self, agent: AgentRunner) -> None:
        ran = agent.run(prompt="", stdin=b"one\ntwo \xff\n\n")
        assert self.sent(ran.requests) == "one\ntwo \ufffd\n\n"

    def test_stdin_of_megabytes(self, agent: AgentRunner) -> None:
        assert len(self.sent(agent.run(prompt="", stdin=b"x" * 5_000_000).requests)) == 5_000_000

    def test_file(self, agent: AgentRunner, tmp_path: Path) -> None:
        (tmp_path / "prompt").write_text("from a file\n")
        ran = agent.run(prompt="", stdin=b"not this", env={"GOAT_PROMPT_FILE": str(tmp_path / "prompt")})
        assert self.sent(ran.requests) == "from a file\n"

    def test_flag_before_file(self, agent: AgentRunner) -> None:
        ran = agent.run(prompt="the flag", env={"GOAT_PROMPT_FILE": "/proc/nowhere"})
        assert self.sent(ran.requests) == "the flag"

    def test_undecodable_argument(self, agent: AgentRunner) -> None:
        assert self.sent(agent.run(prompt="a\udcffb").requests) == "a\ufffdb"


class TestExitCodes:
    def test_no_prompt(self, agent: AgentRunner) -> None:
        ran = agent.run([], prompt="")
        assert (ran.code, ran.stdout) == (1, "")
        assert ran.stderr == "error: no prompt provided (use -prompt flag or pipe to stdin)\n"
        assert ran.result["status"] == "config_error"

    @pytest.mark.parametrize(
        ("env", "message"),
        [
            (
                {"GOAT_PROMPT_FILE": "/proc/nowhere/p"},
                "cannot read GOAT_PROMPT_FILE /proc/nowhere/p: No such file",
            ),
            ({"GOAT_DEADLINE_S": "soon"}, "GOAT_DEADLINE_S must be a number of seconds, not 'soon'"),
            (
                {"GOAT_TRAJECTORY_FILE": "/proc/nowhere/t"},
                "cannot write GOAT_TRAJECTORY_FILE /proc/nowhere/t",
            ),
        ],
    )
    def test_wrong_environment(self, agent: AgentRunner, env: dict[str, str], message: str) -> None:
        ran = agent.run([], prompt="", env=env)
        assert ran.code == 1
        assert message in ran.stderr
        assert ran.result["error"]["kind"] == "config"

    @pytest.mark.parametrize(
        ("script", "flags", "status", "strict"),
        [
            ([Answer("ok")], (), "completed", 0),
            ([Status(401)], (), "llm_error", 3),
            ([Answer("x", tools=[ECHO])], ("-max-turns", "1"), "max_turns", 4),
            ([Answer("half", finish="length")], (), "max_tokens", 4),
            ([Status(400, {"error": {"message": "context_length_exceeded"}})], (), "context_overflow", 4),
            ([Answer("", refusal="no")], (), "refused", 4),
            ([Answer("", finish="content_filter")], (), "refused", 4),
        ],
    )
    def test_endings(
        self,
        agent: AgentRunner,
        script: list[Answer | Status],
        flags: tuple[str, ...],
        status: str,
        strict: int,
    ) -> None:
        ran = agent.run(script, *flags)
        assert (ran.code, ran.result["status"]) == (0, status)
        assert agent.run(script, *flags, env={"GOAT_STRICT_EXIT": "1"}).code == strict


class TestStdout:
    def test_only_the_last_message_counts(self, agent: AgentRunner) -> None:
        assert agent.run([Answer("first", tools=[ECHO]), Answer("last")]).stdout == "last"

    def test_a_last_message_of_tool_calls_is_empty(self, agent: AgentRunner) -> None:
        script = [Answer("text", tools=[ECHO]), Answer(tools=[ECHO])]
        assert agent.run(script, "-max-turns", "2").stdout == ""

    def test_the_text_before_an_error_is_kept(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer("so far", tools=[ECHO]), Status(400)])
        assert (ran.stdout, ran.result["final_text"]) == ("so far", "so far")
        assert ran.stderr == "error: HTTP 400: scripted status 400\n"

    def test_any_character(self, agent: AgentRunner) -> None:
        assert agent.run([Answer("é 漢 🐐")], env={"LC_ALL": "C"}).stdout == "é 漢 🐐"


class TestTurns:
    @pytest.mark.parametrize("limit", ["0", "-1"])
    def test_no_limit(self, agent: AgentRunner, limit: str) -> None:
        script = [
            *(Answer(tools=[ToolCall("Read", {"file_path": "/proc/nowhere"})]) for _ in range(101)),
            Answer("end"),
        ]
        assert agent.run(script, "-max-turns", limit).stdout == "end"

    def test_the_tools_of_the_last_turn_have_run(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer(tools=[ToolCall("Bash", {"command": "touch ran"})])], "-max-turns", "1")
        assert (agent.work / "ran").exists()
        assert (ran.result["turns"], ran.result["tool_calls"]) == (1, {"Bash": 1, "errors": 0})


class TestRequest:
    def test_url_headers_and_body(self, agent: AgentRunner) -> None:
        request = agent.run(env={"GOAT_RUN_ID": "run-7"}).requests[0]
        assert request.path == "/v1/chat/completions"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-goat-run-id"] == "run-7"
        body = request.json
        assert list(body) == ["model", "messages", "tools", "stream", "max_tokens", "stream_options"]
        assert (body["stream"], body["max_tokens"]) == (True, 16384)
        assert body["stream_options"] == {"include_usage": True}
        assert [tool["function"]["name"] for tool in body["tools"]] == [
            "Bash",
            "Edit",
            "Glob",
            "Grep",
            "Read",
            "Write",
        ]

    @pytest.mark.parametrize(
        ("model", "sent", "tuned", "short"),
        [
            ("gpt-5-mini", "gpt-5-mini", False, False),
            ("openai/gpt-5", "openai/gpt-5", False, False),
            ("claude-sonnet-4", "anthropic/claude-sonnet-4", False, False),
            ("anthropic/claude-x", "anthropic/claude-x", False, False),
            ("qwen3-4b-local", "qwen3-4b-local", True, False),
            ("Llama-3.1-8b-LOCAL", "Llama-3.1-8b-LOCAL", True, True),
            ("groq/gpt-oss", "groq/gpt-oss", True, True),
            ("some-Mixtral", "some-Mixtral", True, True),
        ],
    )
    def test_model_names(self, agent: AgentRunner, model: str, sent: str, tuned: bool, short: bool) -> None:
        request = agent.run(env={"EVAL_MODEL": model}).requests[0]
        body = request.json
        assert body["model"] == sent
        assert (body.get("temperature"), body.get("tool_choice")) == (
            (0.3, "auto") if tuned else (None, None)
        )
        system = body["messages"][0]["content"]
        assert (len(system) < 1000) == short
        assert (len(json.dumps(body["tools"])) < 4500) == short
        assert f"- Working directory: {agent.work}" in system.splitlines()

    def test_a_path_prefix_stays(self, agent: AgentRunner) -> None:
        with ModelServer([Answer("ok")]) as server:
            url = server.url.replace("/v1", "/i/abc/v1/")
            agent.finish(agent.start(url, "-prompt", "x"), server.requests)
        assert server.requests[0].path == "/i/abc/v1/chat/completions"

    def test_empty_variables_count_as_unset(self, agent: AgentRunner) -> None:
        request = agent.run(env={"EVAL_MODEL": "", "OPENAI_API_KEY": ""}).requests[0]
        assert (request.json["model"], request.headers["authorization"]) == ("inspect", "Bearer inspect")

    def test_a_relative_cwd_is_shown_whole(self, agent: AgentRunner) -> None:
        ran = agent.run([Answer("x")], "-cwd", ".")
        assert f"- Working directory: {Path.cwd()}" in ran.requests[0].json["messages"][0]["content"]


class TestHistory:
    def test_messages_go_back_as_they_came(self, agent: AgentRunner) -> None:
        odd = '{"command":  "echo \\"<&>\\"", "timeout": 5000}'
        calls = [ToolCall("Bash", odd, "id-1"), ToolCall("Bash", {"command": "echo two"}, "id-2")]
        ran = agent.run([Answer(tools=calls, reasoning="hm"), Answer("ok")])
        _, user, assistant, first, second = ran.requests[1].json["messages"]
        assert user == {"role": "user", "content": "do it"}
        assert assistant["content"] is None
        assert [call["id"] for call in assistant["tool_calls"]] == ["id-1", "id-2"]
        assert assistant["tool_calls"][0]["function"] == {"name": "Bash", "arguments": odd}
        assert set(assistant) == {"role", "content", "tool_calls"}
        assert first == {"role": "tool", "content": "<&>", "tool_call_id": "id-1"}
        assert second["content"] == "two"

    def test_old_long_results_are_shortened(self, agent: AgentRunner) -> None:
        long = ToolCall("Bash", {"command": "printf 'x%.0s' {1..1200}"})
        script = [*(Answer(tools=[long]) for _ in range(7)), Answer("ok")]
        outputs = agent.run(script).outputs
        short = "x" * 200 + "\n... [output truncated]"
        assert outputs[:2] == [short, short]
        assert outputs[2:] == ["x" * 1200] * 5

    def test_results_the_model_has_not_seen_stay_whole(self, agent: AgentRunner) -> None:
        long = ToolCall("Bash", {"command": "printf 'x%.0s' {1..1200}"})
        outputs = agent.run([Answer(tools=[long] * 25), Answer("ok")]).outputs
        assert outputs == ["x" * 1200] * 25


class TestToolCalls:
    @pytest.mark.parametrize("finish", ["stop", "length", "function_call", None])
    def test_they_run_whatever_the_finish_reason(self, agent: AgentRunner, finish: str | None) -> None:
        assert agent.run([Answer(tools=[ECHO], finish=finish), Answer("ok")]).outputs == ["hello"]

    def test_a_call_cut_by_the_length_ends_the_run(self, agent: AgentRunner) -> None:
        cut = ToolCall("Write", '{"file_path": "/tmp/x", "cont')
        ran = agent.run([Answer("I", tools=[ECHO, cut], finish="length")])
        assert (ran.result["status"], ran.result["tool_calls"]) == ("max_tokens", {"errors": 0})

    @pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"'])
    def test_arguments_that_are_no_object(self, agent: AgentRunner, arguments: str) -> None:
        ran = agent.run([Answer(tools=[ToolCall("Bash", arguments)]), Answer("ok")])
        assert ran.outputs == [f"Error: the arguments are not a JSON object: {arguments}"]
        (sent,) = ran.requests[1].json["messages"][2]["tool_calls"]
        assert json.loads(sent["function"]["arguments"]) == {"_raw": arguments}

    def test_an_unknown_tool(self, agent: AgentRunner) -> None:
        (output,) = agent.call(ToolCall("Nope"))
        assert output == 'Error: unknown tool "Nope". Available: Bash, Edit, Glob, Grep, Read, Write'

    def test_calls_without_ids_get_some(self, agent: AgentRunner) -> None:
        function = {"name": "Bash", "arguments": '{"command": "echo hi"}'}
        message = {"role": "assistant", "tool_calls": [{"function": function}, {"function": function}]}
        body = json.dumps({"choices": [{"message": message}]}).encode()
        ran = agent.run([Raw(body, "application/json"), Answer("ok")])
        assert ran.outputs == ["hi", "hi"]
        assistant, first, second = ran.requests[1].json["messages"][2:]
        ids = [call["id"] for call in assistant["tool_calls"]]
        assert ids == [first["tool_call_id"], second["tool_call_id"]]
        assert len(set(ids)) == 2

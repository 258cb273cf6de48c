"""-mcp-config: servers over stdio, HTTP and SSE, their tools and resources."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support import mcp_server
from tests.support.agent_run import AgentRunner, Ran, processes_with
from tests.support.mcp_server import HttpMcpServer
from tests.support.model_server import Answer, ModelServer, Status, ToolCall

SERVER = str(Path(mcp_server.__file__))


def stdio(*arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "stdio", "command": sys.executable, "args": [SERVER, *arguments], **more}


def run(agent: AgentRunner, servers: Any, *calls: ToolCall, env: dict[str, str] | None = None) -> Ran:
    path = agent.out / "mcp.json"
    path.write_text(servers if isinstance(servers, str) else json.dumps(servers))
    return agent.run([Answer(tools=calls), Answer("ok")], "-mcp-config", str(path), env=env)


CALLS = (
    ToolCall("mcp__s__add", {"a": 2, "b": 3}),
    ToolCall("mcp__s__add", {"a": 2}),
    ToolCall("mcp__s__fail"),
    ToolCall("mcp__s__picture"),
    ToolCall("ListMcpResources", {}),
    ToolCall("ReadMcpResource", {"server_name": "s", "uri": "mem://notes"}),
    ToolCall("ReadMcpResource", {"server_name": "s", "uri": "mem://other"}),
    ToolCall("ReadMcpResource", {"server_name": "x", "uri": "mem://notes"}),
)
OUTPUTS = [
    "5",
    "Error: missing required field(s): b",
    "Error: it went wrong",
    "[binary data: image/png, 3 bytes]\nembedded",
    "MCP Resources:\n- notes (mem://notes): Some notes [text/plain]",
    "the notes",
    "Error: MCP server s: unknown: 'mem://other'",
    'Error: no MCP server "x"; connected: s',
]


class TestServers:
    def check(self, ran: Ran) -> None:
        assert (ran.code, ran.stderr) == (0, "connected MCP server: s\n")
        assert ran.outputs == OUTPUTS
        request = ran.requests[0].json
        names = [tool["function"]["name"] for tool in request["tools"]]
        assert names == [
            *("Bash", "Edit", "Glob", "Grep", "ListMcpResources", "Read", "ReadMcpResource", "Write"),
            *("mcp__s__add", "mcp__s__env_names", "mcp__s__fail", "mcp__s__picture"),
        ]
        add = next(tool["function"] for tool in request["tools"] if tool["function"]["name"] == "mcp__s__add")
        assert add["description"] == "Adds two numbers."
        assert add["parameters"]["required"] == ["a", "b"]
        assert "come from these servers: s." in request["messages"][0]["content"]

    def test_stdio(self, agent: AgentRunner) -> None:
        self.check(run(agent, {"s": stdio()}, *CALLS))

    def test_http(self, agent: AgentRunner) -> None:
        with HttpMcpServer() as server:
            spec = {"type": "http", "url": f"{server.url}/mcp", "headers": {"X-Token": "t"}}
            self.check(run(agent, {"s": spec}, *CALLS))
        assert all(headers["X-Token"] == "t" for headers in server.headers_seen)
        assert all(headers["Mcp-Session-Id"] == "session-1" for headers in server.headers_seen[1:])

    def test_sse(self, agent: AgentRunner) -> None:
        with HttpMcpServer() as server:
            self.check(run(agent, {"s": {"type": "sse", "url": f"{server.url}/sse"}}, *CALLS))

    def test_the_type_can_be_told_from_the_rest(self, agent: AgentRunner) -> None:
        spec = stdio()
        del spec["type"]
        assert run(agent, {"s": spec}).stderr == "connected MCP server: s\n"

    def test_environment(self, agent: AgentRunner) -> None:
        ran = run(agent, {"s": stdio(env={"MINE": "1"})}, ToolCall("mcp__s__env_names"), env={"YOURS": "2"})
        names = ran.outputs[0].split("\n")
        assert {"MINE", "YOURS"} <= set(names)
        assert not {"OPENAI_API_KEY", "GOAT_RESULT_FILE"} & set(names)

    def test_the_server_is_dead_afterwards(self, agent: AgentRunner) -> None:
        mark = uuid.uuid4().hex
        assert run(agent, {"s": stdio("normal", mark)}, ToolCall("ListMcpResources")).stdout == "ok"
        assert processes_with(mark) == []


class TestServersThatFail:
    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            (stdio("dies"), "it has ended: no database"),
            (stdio("refuses"), "not today"),
            (
                {"type": "stdio", "command": "/proc/nowhere/server"},
                "cannot start /proc/nowhere/server: No such file",
            ),
            ({"type": "http", "url": "http://127.0.0.1:1/"}, "cannot connect to 127.0.0.1:1"),
            ({"type": "sse", "url": "http://127.0.0.1:1/"}, "cannot connect to 127.0.0.1:1"),
            ({"type": "http"}, "url is missing"),
            ({"type": "carrier-pigeon"}, "type must be stdio, http or sse, not 'carrier-pigeon'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_warning_and_on(self, agent: AgentRunner, spec: dict[str, Any], reason: str) -> None:
        ran = run(agent, {"bad": spec, "s": stdio()}, ToolCall("mcp__s__add", {"a": 1, "b": 1}))
        warning, connected = ran.stderr.splitlines()
        assert warning.startswith(f'warning: failed to connect MCP server "bad": {reason}')
        assert connected == "connected MCP server: s"
        assert (ran.code, ran.outputs) == (0, ["2"])

    def test_an_http_server_that_answers_with_an_error(self, agent: AgentRunner) -> None:
        path = agent.out / "mcp.json"

        def script(request: dict[str, Any], headers: Any) -> Answer | Status:
            return Status(500, "mcp is broken") if request.get("jsonrpc") else Answer("ok")

        with ModelServer(script) as server:
            path.write_text(json.dumps({"s": {"type": "http", "url": server.url}}))
            ran = agent.finish(
                agent.start(server.url, "-prompt", "x", "-mcp-config", str(path)), server.requests
            )
        assert 'failed to connect MCP server "s": HTTP 500: ' in ran.stderr
        assert ran.stdout == "ok"

    def test_a_silent_server_is_given_up_at_the_deadline(self, agent: AgentRunner) -> None:
        ran = run(agent, {"s": stdio("silent")}, env={"GOAT_DEADLINE_S": "0.5"})
        assert ran.result["status"] == "deadline"


class TestConfiguration:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "is not JSON"),
            ("{}", "has no servers"),
            ("[]", "must map server names to objects"),
            ('{"s": 3}', "must map server names to objects"),
        ],
    )
    def test_a_wrong_file_ends_the_run(self, agent: AgentRunner, text: str, problem: str) -> None:
        ran = run(agent, text)
        assert (ran.code, ran.requests) == (1, [])
        assert ran.stderr.startswith("error loading MCP config: ")
        assert problem in ran.stderr

    def test_a_missing_file(self, agent: AgentRunner) -> None:
        ran = agent.run([], "-mcp-config", "/proc/nowhere.json")
        assert (ran.code, ran.stderr) == (
            1,
            "error loading MCP config: reading /proc/nowhere.json: No such file or directory\n",
        )

"""Model calls: what is accepted as an answer, what is retried, what an error is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from pytest_goat.goat_eval.answer import Answer as Whole
from pytest_goat.goat_eval.answer import read
from pytest_goat.goat_eval.errors import ModelError
from pytest_goat.goat_eval.http1 import HttpError
from tests.support.agent_run import KEY, AgentRunner
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Raw, Reply, Status, ToolCall
from tests.support.ports import closed_port

ECHO = ToolCall("Bash", {"command": "echo hello"})


class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            Answer("fine"),
            Answer("fine", streamed=False),
            Answer("fine", pieces=3),
            Answer("fine", prefix="data:"),
            Answer("fine", done=False),
            Answer("fine", finish=None),
            Answer("fine", usage=None),
            Answer("fine", reasoning="let me think"),
            Answer("fine", noise=[": ping", "event: x", "data: {broken", "data: 3", "id: 1", "data:"]),
            Answer("fine", delay=0.02),
            Raw(b'data:{"choices":[{"delta":{"content":"fine"}}]}\n\n', "text/plain"),
            Raw(b'{"choices":\n[{"message":{"content":"fine"}}]}', "text/plain"),
            Raw(b'{"choices": [{"message": {"content": "fine"}}]}', "text/event-stream"),
        ],
    )
    def test_forms(self, agent: AgentRunner, answer: Reply) -> None:
        ran = agent.run([answer])
        assert (ran.stdout, ran.result["status"], ran.result["llm"]["retries"]) == ("fine", "completed", 0)

    @pytest.mark.parametrize("streamed", [True, False])
    def test_tool_calls(self, agent: AgentRunner, streamed: bool) -> None:
        two = [ECHO, ToolCall("Bash", {"command": "echo two"})]
        assert agent.run([Answer(tools=two, streamed=streamed), Answer("ok")]).outputs == ["hello", "two"]

    @pytest.mark.parametrize("streamed", [True, False])
    def test_lines_of_any_length(self, agent: AgentRunner, streamed: bool) -> None:
        text = "é" * 300_000
        assert agent.run([Answer(text, streamed=streamed)]).stdout == text

    def test_usage_is_summed(self, agent: AgentRunner) -> None:
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 7},
        }
        ran = agent.run(
            [Answer(tools=[ECHO], usage=usage, model="m-1"), Answer("ok", streamed=False, model="m-2")]
        )
        assert ran.result["usage"] == {
            "prompt": 110,
            "completion": 25,
            "cached": 60,
            "reasoning": 7,
            "total": 135,
        }
        assert ran.result["llm"]["models_served"] == ["m-1", "m-2"]

    @pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
    def test_connections(self, agent: AgentRunner, keep_alive: bool, connections: int) -> None:
        script = [Answer(tools=[ECHO]), Answer(tools=[ECHO], streamed=False), Answer("ok")]
        with ModelServer(script, keep_alive=keep_alive) as server:
            ran = agent.finish(agent.start(server.url, "-prompt", "x"), server.requests)
        assert (ran.stdout, ran.result["llm"]["retries"]) == ("ok", 0)
        assert server.connections == connections


class TestRetries:
    @pytest.mark.parametrize(
        "failure",
        [
            *(Status(code) for code in (408, 429, 500, 502, 503, 504, 529)),
            Drop(),
            Answer("half", pieces=4, cut_after=3),
            Answer(tools=[ECHO], cut_after=2),
            Answer("half", pieces=4, hang_after=2),
            Hang(),
            Raw(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'),
            Raw(b"data: [DONE]\n\n"),
            Raw(b"<html>busy</html>", "text/html"),
            Raw(b'{"choices": []}', "application/json"),
            Raw(b'["odd"]', "application/json"),
            Raw(b'{"choices": [3, {"index": 1}]}', "application/json"),
        ],
        ids=repr,
    )
    def test_what_is_retried(self, agent: AgentRunner, failure: Reply) -> None:
        ran = agent.run([failure, Answer(tools=[ECHO]), failure, Answer("ok")], env={"GOAT_IDLE_S": "0.5"})
        assert (ran.stdout, ran.result["status"]) == ("ok", "completed")
        assert (ran.result["llm"]["requests"], ran.result["llm"]["retries"]) == (4, 2)
        assert ran.outputs == ["hello"]

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, "bad_request"), (401, "auth"), (403, "auth"), (404, "model_not_found"), (413, "bad_request"),
         (422, "bad_request")],
    )  # fmt: skip
    def test_what_is_not_retried(self, agent: AgentRunner, status: int, kind: str) -> None:
        ran = agent.run([Status(status, headers={"Retry-After": "1"})])
        assert len(ran.requests) == 1
        assert ran.result["error"] == {
            "kind": kind,
            "http_status": status,
            "message": f"HTTP {status}: scripted status {status}",
            "retryable": False,
        }

    @pytest.mark.parametrize(
        ("failure", "kind", "status"),
        [
            (Status(429), "rate_limited", 429),
            (Status(500), "provider_error", 500),
            (Status(504), "model_timeout", 504),
            (Drop(), "stream_cut", 0),
            (Answer("half", cut_after=1), "stream_cut", 0),
            (Hang(), "model_timeout", 0),
            (Raw(b'data: {"error": "sorry"}\n\n'), "provider_error", 0),
        ],
        ids=repr,
    )
    def test_four_attempts_are_all(self, agent: AgentRunner, failure: Reply, kind: str, status: int) -> None:
        patience = "0.1" if isinstance(failure, Hang) else "20"
        ran = agent.run([failure] * 5, env={"GOAT_IDLE_S": patience})
        assert (ran.code, ran.stdout, len(ran.requests)) == (0, "", 4)
        error = ran.result["error"]
        assert (ran.result["status"], error["kind"], error["http_status"]) == ("llm_error", kind, status)
        assert error["retryable"]
        assert ran.stderr.startswith("error: ")
        waits = [event["wait"] for event in ran.events if event["type"] == "error"]
        assert [0.01 <= waits[0] <= 0.011, 0.02 <= waits[1] <= 0.022, 0.04 <= waits[2] <= 0.044] == [True] * 3
        assert waits[3] == 0

    def test_an_error_in_the_stream_that_is_for_good(self, agent: AgentRunner) -> None:
        ran = agent.run([Raw(b'data: {"error": {"message": "bad", "type": "invalid_request_error"}}\n\n')])
        assert (len(ran.requests), ran.result["error"]["message"]) == (1, "bad")

    def test_nobody_listens(self, agent: AgentRunner) -> None:
        with closed_port() as port:
            ran = agent.finish(agent.start(f"http://127.0.0.1:{port}/v1", "-prompt", "x"), [])
        assert ran.result["error"]["kind"] == "gateway_unreachable"
        assert "Connection refused" in ran.stderr
        assert ran.result["llm"] == {"requests": 4, "retries": 3, "last_http_status": 0, "models_served": []}

    @pytest.mark.parametrize("url", ["localhost:1/v1", "ftp://x/v1", "http://x:port/v1", ""])
    def test_an_url_that_is_none(self, agent: AgentRunner, url: str) -> None:
        ran = agent.finish(agent.start(url or "http://", "-prompt", "x"), [])
        assert (ran.result["status"], ran.result["llm"]["requests"]) == ("llm_error", 1)

    @pytest.mark.parametrize(
        "message", ["This model's maximum context length is 8192 tokens", "prompt is too long"]
    )
    def test_context_overflow(self, agent: AgentRunner, message: str) -> None:
        ran = agent.run([Answer(tools=[ECHO]), Status(400, {"error": {"message": message}})])
        assert (ran.result["status"], ran.result["error"]["kind"]) == ("context_overflow", "context_overflow")

    @pytest.mark.parametrize(
        ("header", "least", "most"),
        [("1", 1.0, 1.0), ("0.3", 0.3, 0.3), ("86400", 60.0, 60.0), ("-5", 0.0, 0.1), ("soon", 0.0, 0.1),
         (formatdate(4e9, usegmt=True), 60.0, 60.0)],
    )  # fmt: skip
    def test_retry_after(self, agent: AgentRunner, header: str, least: float, most: float) -> None:
        """How long it would wait: read off the trajectory, so that the test need not."""
        with ModelServer([Status(429, headers={"Retry-After": header}), Answer("ok")]) as server:
            process = agent.start(server.url, "-prompt", "x", env={"GOAT_DEADLINE_S": "0.4"})
            ran = agent.finish(process, server.requests)
        (wait,) = (event["wait"] for event in ran.events if event["type"] == "error")
        assert least <= wait <= most

    def test_a_redirect_is_followed_with_its_body(self, agent: AgentRunner) -> None:
        redirect = Status(307, {}, {"Location": "/elsewhere/v1/chat"})
        ran = agent.run([redirect, Answer("ok")])
        assert [request.path for request in ran.requests] == ["/v1/chat/completions", "/elsewhere/v1/chat"]
        assert ran.requests[0].body == ran.requests[1].body
        assert (ran.stdout, ran.requests[1].headers["authorization"]) == ("ok", f"Bearer {KEY}")

    def test_no_key_for_another_host(self, agent: AgentRunner) -> None:
        with ModelServer([Answer("ok")]) as other:
            url = other.url.replace("127.0.0.1", "localhost") + "/chat"
            ran = agent.run([Status(308, {}, {"Location": url})])
        assert ran.stdout == "ok"
        assert "authorization" not in other.requests[0].headers

    def test_redirects_end(self, agent: AgentRunner) -> None:
        ran = agent.run([Status(307, {}, {"Location": "/v1/again"})] * 9)
        assert "more than 5 redirects" in ran.stderr


class TestSecrets:
    def test_the_key_is_taken_out_of_all_records(self, agent: AgentRunner) -> None:
        ran = agent.run([Status(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}})])
        assert ran.stderr == "error: HTTP 401: Incorrect API key provided: [api key].\n"
        records = [path.read_text() for path in agent.out.iterdir()]
        assert len(records) == 2
        assert not any(KEY in record for record in records)


def chunk(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


def call(**fields: Any) -> dict[str, Any]:
    arguments = fields.pop("arguments", "")
    return {**fields, "function": {"name": fields.pop("name", ""), "arguments": arguments}}


class TestDeltas:
    def whole(self, *lines: bytes) -> Whole:
        return read(lines, framed=True)

    def test_joined_by_index(self) -> None:
        answer = self.whole(
            chunk(tool_calls=[call(index=0, id="a", name="X"), call(index=1, id="b", name="Y")]),
            chunk(tool_calls=[call(index=1, arguments='{"y":')]),
            chunk(tool_calls=[call(index=0, arguments="{}"), call(index=1, arguments="1}")]),
        )
        assert [(c.id, c.name, c.arguments) for c in answer.calls] == [
            ("a", "X", "{}"),
            ("b", "Y", '{"y":1}'),
        ]

    def test_without_index_they_belong_to_the_last(self) -> None:
        answer = self.whole(
            chunk(tool_calls=[call(id="a", name="X", arguments="{")]),
            chunk(tool_calls=[call(arguments="}")]),
            chunk(tool_calls=[call(id="b", name="Y", arguments="{}")]),
        )
        assert [(c.name, c.arguments) for c in answer.calls] == [("X", "{}"), ("Y", "{}")]

    def test_one_index_for_all(self) -> None:
        answer = self.whole(
            chunk(tool_calls=[call(index=0, id="a", name="X", arguments="{}")]),
            chunk(tool_calls=[call(index=0, id="b", name="Y", arguments="{}")]),
        )
        assert [c.name for c in answer.calls] == ["X", "Y"]

    def test_content_in_parts(self) -> None:
        assert (
            self.whole(chunk(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])).text
            == "ab"
        )

    def test_a_cut_after_the_finish_reason_is_no_cut(self) -> None:
        def lines() -> Iterator[bytes]:
            yield b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}'
            raise HttpError("dropped", "gone")

        assert read(lines(), framed=True).text == "x"

    def test_an_unframed_end_without_a_finish_reason_is_a_cut(self) -> None:
        with pytest.raises(ModelError) as caught:
            read([chunk(content="x")], framed=False)
        assert caught.value.kind == "stream_cut"

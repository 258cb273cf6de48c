"""How a trial ends when the model's provider misbehaves, or the agent does: for goat-eval, and for an agent
that tells nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import silent_agent
from tests.support.model_server import Answer, Drop, Hang, ModelServer, Raw, Reply, Status, ToolCall
from tests.support.runs import assert_nowhere, junit_outcomes, stored_trials, the_run
from tests.support.suites import hello_task, write_suite

KEY = "sk-canary-5f1c0e77a9b34d21"
LONG = 100.0
"""Seconds that no trial takes."""


def bash(command: str) -> Answer:
    return Answer(tools=[ToolCall("Bash", {"command": command})])


RIGHT = bash("echo hello > hello.txt")
WRONG = bash("echo good bye > hello.txt")
DONE = Answer("Done.")
ASK_ELSEWHERE = r"""
url=$(tr '\0' '\n' < /proc/$PPID/environ | sed -n 's/^OPENAI_BASE_URL=//p')
python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], b"{}")' "$url/responses" 2>/dev/null
kill -9 $PPID
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A task, what the model says to it, and how its trial has to end."""

    replies: tuple[Reply, ...]
    """By turn; the last one is repeated. Every error body has the caller's key in it."""
    status: str
    cause: str | None = None
    silent: tuple[str, str | None] | None = None
    """Status and cause for the silent agent, where they are others."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the task beside those that all have."""

    def expected(self, agent: str) -> tuple[str, str | None]:
        return self.silent if self.silent and agent != "goat-eval" else (self.status, self.cause)


JUNIT = {"passed": "passed", "failed": "failure", "error": "error"}


def stream_of(*events: Mapping[str, Any]) -> Raw:
    return Raw(b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events))


CASES: dict[str, Case] = {
    "right": Case((RIGHT, DONE), "passed"),
    "wrong": Case((WRONG, DONE), "failed", "checks_failed"),
    "http-401": Case((Status(401),), "error", "auth"),
    "http-403": Case((Status(403),), "error", "auth"),
    "http-404": Case((Status(404),), "error", "model_not_found"),
    "http-429": Case((Status(429),), "error", "rate_limited"),
    "http-429-soon": Case((Status(429, headers={"Retry-After": "1"}),), "error", "rate_limited"),
    "http-429-late": Case(
        (Status(429, headers={"Retry-After": "3600"}),), "error", "rate_limited", task={"timeout": 8}
    ),
    "http-500": Case((Status(500),), "error", "provider_error"),
    "http-503": Case((Status(503),), "error", "provider_error"),
    "http-529": Case((Status(529),), "error", "provider_error"),
    "error-in-stream": Case(
        (stream_of({"error": {"message": "overloaded", "type": "overloaded_error"}}),),
        "error",
        "provider_error",
    ),
    "hang": Case((Hang(),), "error", "model_timeout", task={"timeout": 8}),
    "hang-in-stream": Case(
        (Answer("Let me think", hang_after=2),), "error", "model_timeout", task={"timeout": 8}
    ),
    "drop": Case((Drop(),), "error", "gateway_unreachable"),
    "cut": Case((Answer("I will write it.", cut_after=2),), "error", "stream_cut"),
    "no-end": Case((Answer("I will", finish=None, done=False),), "error", "stream_cut"),
    "wrong-then-500": Case((WRONG, Status(500)), "error", "provider_error"),
    "right-then-500": Case((RIGHT, Status(500)), "passed"),
    "no-such-command": Case(
        (RIGHT, DONE), "error", "check_error", task={"checks": [{"run": "goat-no-such-command"}]}
    ),
    "length": Case((Answer("I will wri", finish="length"),), "failed", "length_cut"),
    "filter": Case((Answer("I", finish="content_filter"),), "failed", "refusal"),
    "malformed": Case(
        (Status(400, "tool_use_failed: Failed to call a function."),), "failed", "malformed_call"
    ),
    "overflow": Case(
        (Status(400, "This model's maximum context length is 8192 tokens. Reduce the length."),),
        "failed",
        "context_overflow",
    ),
    "turns": Case((bash("true"),), "failed", "turn_limit", task={"max_turns": 3}),
    "time": Case((bash("sleep 60"),), "failed", "timeout", task={"timeout": 6}),
    "crash": Case((bash("kill -9 $PPID"),), "failed", "agent_crashed"),
    "elsewhere": Case((bash(ASK_ELSEWHERE),), "failed", "forbidden"),
    "unchecked": Case((DONE,), "passed", silent=("failed", "no_answer"), task={"checks": []}),
    "unchecked-401": Case((Status(401),), "error", "auth", task={"checks": []}),
    "unchecked-length": Case(
        (Answer("I will wri", finish="length"),), "failed", "length_cut", task={"checks": []}
    ),
}


def prompt_of(request: dict[str, Any]) -> str:
    return str(next(m["content"] for m in request["messages"] if m["role"] == "user"))


def serve(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
    """The reply to a trial, which is known by the last word of its prompt; the preflight is answered well."""
    case = CASES.get(prompt_of(request).split()[-1])
    if case is None:
        return Answer("OK")
    turn: int = sum(m["role"] == "assistant" for m in request["messages"])
    reply = case.replies[min(turn, len(case.replies) - 1)]
    if isinstance(reply, Status):
        said = reply.body or "try another"
        return Status(reply.code, f"{said} (you sent {headers['authorization']})", reply.headers)
    return reply


def run_suite(
    pytester: pytest.Pytester, tasks: Sequence[Mapping[str, Any]], url: str, agent: str, *options: str
) -> pytest.RunResult:
    """Run `tasks` with the model at `url`; `agent` is goat-eval, or silent."""
    write_suite(pytester.path / "suite", tasks)
    if agent == "silent":
        agent = "silent.json"
        adapter = {"name": "silent", "program": silent_agent.__file__, "argv": ["{program}", "{max_turns}"]}
        (pytester.path / agent).write_text(json.dumps(adapter))
    return pytester.runpytest_subprocess(
        "suite",
        "-p",
        "no:cacheprovider",
        "--junitxml=junit.xml",
        f"--goat-api-url={url}",
        "--goat-model=test-model",
        f"--goat-agent={agent}",
        *options,
    )


both_agents = pytest.mark.parametrize("agent", ["goat-eval", "silent"])


@both_agents
def test_every_ending_has_its_verdict(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    tasks = [
        hello_task(name, **{"prompt": f"Do {name}", "timeout": LONG, **case.task})
        for name, case in CASES.items()
    ]
    with ModelServer(serve, api_key=KEY) as server:
        options = (f"--goat-parallel={len(CASES)}", "--goat-retries=0", "--goat-max-wait=0")
        result = run_suite(pytester, tasks, server.url, agent, *options)

    expected = {name: case.expected(agent) for name, case in CASES.items()}
    trials = stored_trials(pytester.path)
    assert {name: (trial["status"], trial["cause"]) for name, trial in trials.items()} == expected

    tags = {name: JUNIT[status] for name, (status, _) in expected.items()}
    assert junit_outcomes(pytester.path / "junit.xml") == tags
    assert junit_outcomes(the_run(pytester.path) / "junit.xml") == tags

    statuses = Counter(status for status, _ in expected.values())
    result.assert_outcomes(statuses["passed"], failed=statuses["failed"], errors=statuses["error"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*Traceback*")

    assert "[redacted]" in trials["http-500"]["message"]
    assert trials["right-then-500"]["message"].startswith("passed, although the last model call failed: HTTP")
    assert "not POST /v1/responses" in trials["elsewhere"]["message"]
    assert trials["unchecked"]["unchecked"] == (agent == "goat-eval")
    assert_nowhere(KEY, pytester.path, result)


@both_agents
def test_a_server_that_goes_away_is_an_error(pytester: pytest.Pytester, agent: str) -> None:
    def preflight_alone(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        server.stop_listening()
        return Answer("OK")

    with ModelServer(preflight_alone, keep_alive=False) as server:
        task = hello_task("gone", timeout=6)
        run_suite(pytester, [task], server.url, agent, "--goat-retries=0").assert_outcomes(errors=1)
        assert len(server.requests) == 1
    trial = stored_trials(pytester.path)["gone"]
    assert (trial["status"], trial["cause"]) == ("error", "gateway_unreachable")
    assert {call["message"] for call in trial["calls"]} == {f"{server.url}: connection refused"}


def test_a_hung_model_is_tried_again_and_then_an_error(pytester: pytest.Pytester) -> None:
    def hang(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        return Hang() if "hello" in prompt_of(request) else Answer("OK")

    with ModelServer(hang) as server:
        result = run_suite(pytester, [hello_task("hung")], server.url, "silent", "--goat-model-timeout=1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["attempt 1: model_timeout after *: no byte from the model for 1 s"])
    trial = stored_trials(pytester.path)["hung"]
    assert (trial["status"], trial["cause"]) == ("error", "model_timeout")
    assert [attempt["cause"] for attempt in trial["attempts"]] == ["model_timeout"]

"""Every model of the seed through the whole chain, and every way in which a call can end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.trial import NEVER_RETRIED
from tests.litellm.chain import (
    DIRECT,
    DONE,
    RIGHT,
    SEEDS,
    WRONG,
    Reply,
    bash,
    calls_of,
    charged,
    counted,
    run_chain,
    set_up,
    task_of,
    total,
    turn_of,
)
from tests.support.model_server import Answer, Drop, Hang, Status
from tests.support.providers import Call, Providers
from tests.support.providers.rules import Asked
from tests.support.runs import all_trials, junit_outcomes, the_run
from tests.support.suites import hello_task

LONG = 100.0
"""Seconds that no trial takes."""
SHORT = 20.0
"""Seconds after which a trial ends that hangs: in half of that, one that is slow must have begun."""
TELLING = ("gpt-5-mini", "claude-haiku-4-5")
"""Whose providers' words for errors differ most."""
MODELS = (*SEEDS, *DIRECT)


@dataclass(frozen=True, slots=True)
class Case:
    """What the provider says to a task, and how its trial has to end."""

    replies: Sequence[Reply]
    """By turn; the last one is repeated."""
    status: str
    cause: str | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the task beside those that all have."""
    unpriced: bool = False
    """Whether what the calls cost gets lost."""
    models: Sequence[str] = TELLING
    """Whose providers say it."""


OVERFLOW = "prompt is too long: 208310 tokens > 200000 maximum. Please reduce the length of the messages."
FILTERED = "The response was filtered due to the prompt triggering the content management policy."
MALFORMED = "tool_use_failed: Failed to call a function. Please adjust your prompt."
NO_MONEY = "insufficient_quota: your credit balance is too low"
NO_MODEL = "The API deployment for this resource does not exist."
LATE = Status(429, headers={"Retry-After": "3600"})
HUNG = Answer("Let me think", pieces=5, hang_after=4)
CUT = Answer("I will write it.", pieces=9, cut_after=6, delay=0.02)
STOPPED = Answer("I will write it.", finish=None, done=False, usage=None)

CASES = {
    "wrong": Case([WRONG, DONE], "failed", "checks_failed"),
    "http-400": Case([Status(400)], "error", "bad_request"),
    "http-401": Case([Status(401)], "error", "auth"),
    "http-402": Case([Status(402)], "error", "auth"),
    "http-403": Case([Status(403)], "error", "auth"),
    "http-404": Case([Status(404, NO_MODEL)], "error", "model_not_found"),
    "http-408": Case([Status(408)], "error", "model_timeout", unpriced=True),
    "http-429": Case([Status(429)], "error", "rate_limited"),
    "http-429-soon": Case([Status(429, headers={"Retry-After": "1"})], "error", "rate_limited"),
    "http-429-late": Case([LATE], "error", "rate_limited", {"timeout": SHORT}),
    "no-money": Case([Status(429, NO_MONEY)], "error", "auth"),
    "http-500": Case([Status(500)], "error", "provider_error"),
    "http-503": Case([Status(503)], "error", "provider_error"),
    "http-529": Case([Status(529)], "error", "provider_error"),
    "overflow": Case([Status(400, OVERFLOW)], "failed", "context_overflow"),
    "filter": Case([Status(400, FILTERED)], "failed", "refusal"),
    "malformed": Case([Status(400, MALFORMED)], "failed", "malformed_call"),
    "budget": Case([bash("true")], "failed", "budget", {"max_turns": 200}),
    "hang": Case([Hang()], "error", "model_timeout", {"timeout": SHORT}, unpriced=True),
    "hang-in-stream": Case([HUNG], "error", "model_timeout", {"timeout": SHORT}, unpriced=True),
    "drop": Case([Drop()], "error", "gateway_unreachable"),
    "cut": Case([CUT], "error", "stream_cut", unpriced=True),
    "cut-at-once": Case([Answer("I", cut_after=0)], "error", "stream_cut", unpriced=True),
    "stopped": Case([STOPPED], "error", "stream_cut", unpriced=True, models=MODELS),
    "wrong-then-500": Case([WRONG, Status(500)], "error", "provider_error"),
    "right-then-500": Case([RIGHT, Status(500)], "passed"),
}


def test_what_is_tried_again() -> None:
    """The rule for each cause; `test_spending` has trials that are tried again."""
    again = {case.cause for case in CASES.values() if case.status == "error"} - NEVER_RETRIED
    assert again == {"rate_limited", "provider_error", "gateway_unreachable", "stream_cut", "model_timeout"}


def serve(asked: Asked) -> Reply:
    if not (task := task_of(asked)):
        return Answer("OK")
    replies = CASES[task].replies if task in CASES else (RIGHT, DONE)
    return replies[min(turn_of(asked), len(replies) - 1)]


@pytest.mark.parametrize("agent", ["goat-eval", "silent"])
def test_models_and_causes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, agent: str) -> None:
    tasks = [hello_task("hello", prompt="Do hello", timeout=LONG)]
    for name, case in CASES.items():
        tasks.append(hello_task(name, **{"prompt": f"Do {name}", "timeout": LONG, **case.task}))
    options = ["-k", "hello or stopped or " + " or ".join(TELLING), "--goat-parallel=24", "--goat-retries=0"]
    options += ["--goat-max-wait=0", "--goat-max-trial-cost=0.012"]
    with Providers(serve) as providers:
        set_up(pytester.path, providers, monkeypatch)
        result = run_chain(pytester, tasks, MODELS, agent, *options)
        calls = [call for call in providers.calls if task_of(call.asked)]
        assert providers.refused == []
    assert len(providers.calls) - len(calls) == len(MODELS)  # one each before the run

    trials = {(trial["task_id"], trial["model"]): trial for trial in all_trials(pytester.path)}
    expected: dict[tuple[str, str], tuple[str, str | None]]
    expected = {(name, m): (case.status, case.cause) for name, case in CASES.items() for m in case.models}
    expected |= {("hello", model): ("passed", None) for model in MODELS}
    assert {key: (trial["status"], trial["cause"]) for key, trial in trials.items()} == expected
    assert set(junit_outcomes(pytester.path / "junit.xml")) == {"hello", *CASES}

    for model in MODELS:
        asked = calls_of(calls, model)
        assert_form(model, asked, agent)
        assert counted(total(trial for trial in trials.values() if trial["model"] == model)) == charged(
            asked, model
        )
    for (name, model), trial in trials.items():
        made = [call for call in calls_of(calls, model) if task_of(call.asked) == name]
        lost = name in CASES and CASES[name].unpriced
        assert trial["usage"]["unpriced"] == (len(made) if lost or model.endswith("-local") else 0), name
    assert_no_traceback(pytester.path, result)
    result.stdout.fnmatch_lines(
        ["*--goat-max-trial-cost does not bound llama-3.1-8b-local: nobody has said *"]
    )


AZURE = "/azure/openai/deployments/{}/chat/completions?api-version=2025-04-01-preview"
PATHS = {
    "gpt-5-nano": AZURE.format("gpt-5-nano"),
    "gpt-5-mini": AZURE.format("gpt-5-mini"),
    "gpt-4o-mini": AZURE.format("gpt-4o-mini"),
    "llama-3.3-70b": "/groq/openai/v1/chat/completions",
    "llama-3.1-8b-local": "/vllm/v1/chat/completions",
    "openai-gpt-4o-mini": "/openai/v1/chat/completions",
    "claude-haiku-4-5": "/anthropic/v1/messages",
}
SENT_MODELS = {
    "llama-3.3-70b": "llama-3.3-70b-versatile",
    "llama-3.1-8b-local": "meta-llama/Llama-3.1-8B-Instruct",
    "openai-gpt-4o-mini": "gpt-4o-mini",
    "claude-haiku-4-5": "claude-haiku-4-5",
}
"""What the body names; Azure goes by the path."""


def assert_form(model: str, calls: Sequence[Call], agent: str) -> None:
    """Every call has its provider's own form; keys and forbidden parameters are the providers' own rules."""
    assert {call.path for call in calls} == {PATHS[model]}
    for call in calls:
        assert SENT_MODELS.get(model) in (None, call.json["model"])
        assert call.json["stream"] is True
        if agent == "goat-eval":
            room = "max_completion_tokens" if model.startswith("gpt-5") else "max_tokens"
            assert call.json[room] == 16384
            assert call.json.get("temperature") == (0.3 if model.startswith("llama") else None)
            assert "Bash" in str(call.json["tools"])


def assert_no_traceback(folder: Path, result: pytest.RunResult) -> None:
    """Nothing of LiteLLM's insides in what a person or an agent gets; its log is its own."""
    files = [path for path in (the_run(folder) / "trials").rglob("*") if path.is_file()]
    texts = [path.read_text("utf-8", "replace") for path in (*files, folder / "junit.xml")]
    for text in (*texts, result.stdout.str(), result.stderr.str()):
        assert "Traceback" not in text
        assert "site-packages" not in text
        assert "No fallback was attempted" not in text

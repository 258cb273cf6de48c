"""The whole chain: pytest, a sandbox, our proxy, the real LiteLLM, and providers that are played."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_goat.gateway.base import Usage
from pytest_goat.models import load_models
from tests.support import silent_agent
from tests.support.model_server import Answer, Drop, Hang, Status, ToolCall
from tests.support.providers import Call, Providers
from tests.support.providers.rules import Asked
from tests.support.suites import write_suite

Reply = Answer | Status | Drop | Hang

SEEDS = ("gpt-5-nano", "gpt-5-mini", "gpt-4o-mini", "llama-3.3-70b", "llama-3.1-8b-local")
DIRECT = ("openai-gpt-4o-mini", "claude-haiku-4-5")
IN_FILE = ("AZURE", "GROQ")
"""Providers whose keys stand in `.env`; the others' in the environment."""


def bash(command: str) -> Answer:
    return Answer("I work.", tools=[ToolCall("Bash", {"command": command})])


RIGHT = bash("echo hello > hello.txt")
WRONG = bash("echo good bye > hello.txt")
DONE = Answer("Done.")


def task_of(asked: Asked) -> str:
    """The task's id, which is the last word of its prompt; "" for a call of the harness itself."""
    said = next(message["content"] for message in asked.json["messages"] if message["role"] == "user")
    text = said if isinstance(said, str) else " ".join(block.get("text", "") for block in said)
    words = text.split()
    return words[-1] if words[:1] == ["Do"] else ""


def turn_of(asked: Asked) -> int:
    return sum(message["role"] == "assistant" for message in asked.json["messages"])


def set_up(folder: Path, providers: Providers, monkeypatch: pytest.MonkeyPatch, **keys: str) -> None:
    """Lead all models to `providers`: by `.env`, by the environment, and by a file of the user's own rows."""
    given = {**providers.environ, **keys}
    in_file = {name: value for name, value in given.items() if name.startswith(IN_FILE)}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in in_file.items()))
    for name, value in given.items():
        if name in in_file:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    # One has retired, as the message says that tells of it; the others will.
    rows = {name: {"retires": "2099-01-01"} for name in (*SEEDS, *DIRECT) if load_models().get(name).retires}
    (folder / "own.yaml").write_text(yaml.safe_dump(rows))


def run_chain(
    pytester: pytest.Pytester,
    tasks: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    agent: str,
    *options: str,
) -> pytest.RunResult:
    """One run of `tasks` with each of `models`; `agent` is goat-eval, or silent."""
    write_suite(pytester.path / "suite", tasks)
    if agent == "silent":
        agent = "silent.json"
        adapter = {"name": "silent", "program": silent_agent.__file__, "argv": ["{program}", "{max_turns}"]}
        (pytester.path / agent).write_text(json.dumps(adapter))
    return pytester.runpytest_subprocess("suite", *arguments(models, agent), *options, timeout=150)


def arguments(models: Sequence[str], agent: str) -> list[str]:
    return [
        "-p",
        "no:cacheprovider",
        "--junitxml=junit.xml",
        "--goat-backend=local",
        "--goat-models=own.yaml",
        f"--goat-agent={agent}",
        *(f"--goat-model={model}" for model in models),
    ]


def charged(calls: Sequence[Call], model: str) -> dict[str, Any]:
    """What the provider of `model` counted in `calls`, as a result's `usage` has it; the cost is exact."""
    row = load_models().get(model)
    tokens = [call.tokens for call in calls if call.tokens is not None]
    prompt, cached = sum(t.prompt for t in tokens), sum(t.cached for t in tokens)
    completion = sum(t.completion for t in tokens)
    cost = None
    if row.price is not None:
        prices = (row.price.input, row.price.cached, row.price.output)
        parts = zip((prompt - cached, cached, completion), prices, strict=True)
        cost = sum(count * Decimal(repr(price)) for count, price in parts) / 10**6
    return {
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "completion_tokens": completion,
        "reasoning_tokens": sum(t.reasoning for t in tokens),
        "cost": cost,
    }


def calls_of(calls: Sequence[Call], model: str) -> list[Call]:
    """Those of `calls` that a row of the table of models leads to."""
    row = load_models().get(model)
    name = row.route.partition("/")[2]
    return [call for call in calls if (call.provider, call.asked.model) == (row.provider, name)]


def total(trials: Iterable[Mapping[str, Any]]) -> Usage:
    """The sum over stored trials."""
    return sum((Usage(**trial["usage"]) for trial in trials), Usage())


def counted(usage: Usage) -> dict[str, Any]:
    """A sum of trials in the form of `charged`."""
    found = dataclasses.asdict(usage)
    del found["cost_source"], found["unpriced"]
    return found | {"cost": None if usage.cost is None else Decimal(repr(usage.cost))}

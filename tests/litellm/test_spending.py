"""What trials cost adds up to what the providers counted: exactly, and with a word on what got lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytest_goat.gateway.base import Usage
from tests.litellm.chain import (
    DONE,
    RIGHT,
    Reply,
    bash,
    calls_of,
    charged,
    counted,
    run_chain,
    set_up,
    task_of,
    total,
)
from tests.support.model_server import Answer, Status
from tests.support.providers import Call, Providers
from tests.support.providers.rules import Asked
from tests.support.runs import all_trials, the_run
from tests.support.suites import hello_task

LOOK = bash("true")
CUT = Answer("I will write it.", pieces=9, cut_after=6, delay=0.01)
STOPPED = Answer("I will write it.", finish=None, done=False, usage=None)
SOON = Status(429, headers={"Retry-After": "1"})
STORIES: Sequence[Sequence[Reply]] = (
    (RIGHT, DONE),
    (Status(500), RIGHT, DONE),
    (CUT, RIGHT, DONE),
    (LOOK, STOPPED, RIGHT, DONE),
    (LOOK, SOON, RIGHT, DONE),
)
"""What the providers say to one call of a trial after another: each asks again after an error, and passes."""


def serve() -> Callable[[Asked], Reply]:
    """Task n is told story n; the last reply of a story is repeated."""
    made: Counter[tuple[str, str, str]] = Counter()

    def reply(asked: Asked) -> Reply:
        if not (task := task_of(asked)):
            return Answer("OK")
        story = STORIES[int(task[1:]) % len(STORIES)]
        key = (task, asked.provider, asked.model)
        made[key] += 1
        return story[min(made[key], len(story)) - 1]

    return reply


@pytest.mark.parametrize(
    ("agent", "tasks", "models", "options"),
    [
        ("goat-eval", 10, ["gpt-5-mini", "claude-haiku-4-5"], ["-n", "4"]),
        ("silent", 200, ["gpt-5-nano"], ["--goat-parallel=200", "--goat-max-wait=0"]),
    ],
    ids=["four workers", "two hundred at once"],
)
def test_all_that_the_providers_counted_is_in_the_results(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    agent: str,
    tasks: int,
    models: list[str],
    options: list[str],
) -> None:
    suite = [hello_task(f"t{n}", prompt=f"Do t{n}", timeout=140) for n in range(tasks)]
    with Providers(serve()) as providers:
        set_up(pytester.path, providers, monkeypatch)
        result = run_chain(pytester, suite, models, agent, *options)
        calls = [call for call in providers.calls if task_of(call.asked)]
    result.assert_outcomes(passed=tasks * len(models))
    trials = all_trials(pytester.path)
    if agent == "silent":  # it never asks again: the trial is tried again
        assert sum(len(trial["attempts"]) for trial in trials) == tasks * 4 // 5
    for model in models:
        spent = total(trial for trial in trials if trial["model"] == model)
        asked = calls_of(calls, model)
        assert counted(spent) == charged(asked, model)
        assert spent.unpriced == len(cut(asked)) == tasks * 2 // 5
    summary: dict[str, Any] = json.loads((the_run(pytester.path) / "summary.json").read_text())
    assert Usage(**summary["totals"]["usage"]) == total(trials)
    lost = len(cut(calls))
    result.stdout.fnmatch_lines([f"cost $* + {lost} calls of unknown cost: *"])


def cut(calls: Sequence[Call]) -> list[Call]:
    """Calls whose answers broke off, so that nobody was told what they cost."""
    return [call for call in calls if call.reply in (CUT, STOPPED)]

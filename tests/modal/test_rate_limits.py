"""Whole runs on Modal under a provider's rate limit: the deployed gateway, and the real LiteLLM in it."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_goat.gateway.base import seconds_waited
from pytest_goat.gateway.log import call_from
from tests.litellm.chain import DONE, RIGHT, Reply, task_of, turn_of
from tests.sandbox.modal_bench import needs_root
from tests.support import silent_agent
from tests.support.deploys import Place, make_environment
from tests.support.modal import ROOT
from tests.support.modal_runs import Cloud, Project
from tests.support.model_server import Answer, Status
from tests.support.providers import Providers
from tests.support.providers.rules import Asked
from tests.support.suites import hello_task, write_suite
from tests.support.terminal import run_at_terminal
from tests.support.waiting import until

pytestmark = needs_root

MODEL = "openai-gpt-4o-mini"
TASKS = ("one", "two")
TIME = 3.0
"""Seconds that an agent has; it makes its first call after 0.3 on a quiet machine."""
CLOSED = 4.0
"""Seconds, more than that, in which the provider takes no call."""
PATIENCE = 2.0
"""Seconds that calls may be held back where the limit never lifts."""


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with Providers() as providers:
        yield providers


@pytest.fixture(scope="module")
def place(
    running_cloud: Cloud, providers: Providers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An environment of these tests alone, whose gateway leads to `providers` and is awake."""
    place = Place(running_cloud.server, "limits")
    make_environment(
        place,
        {"goat-llm-providers": providers.environ, "goat-litellm": {"LITELLM_MASTER_KEY": "sk-0123456789"}},
    )
    here = Project(tmp_path_factory.mktemp("deploy"), running_cloud)
    words = ("-m", "modal", "deploy", f"{ROOT}/infra/services.py", "--env", place.environment)
    done = here.python(*words, LANGFUSE_HOST="https://langfuse.example")
    assert done.code == 0, done.said
    others = {container["id"] for container in place.server.ask("containers")}
    url = place.server.ask("start", app="goat-services", function="gateway", environment=place.environment)
    until("LiteLLM runs", lambda: healthy(url))
    yield place
    for container in place.server.ask("containers"):
        if container["id"] not in others:
            place.server.ask("end_container", id=container["id"], kill=True)


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False


class Limit:
    """A provider that takes no agent's call for `seconds` after the first, and tells how long that is yet."""

    def __init__(self, seconds: float) -> None:
        self.opens: float | None = None
        self._seconds = seconds

    def __call__(self, asked: Asked) -> Reply:
        if not task_of(asked):
            return Answer("OK")
        now = time.monotonic()
        if self.opens is None:
            self.opens = now + self._seconds
        if now < self.opens:
            return Status(429, "Rate limit reached", headers={"Retry-After": f"{self.opens - now:.3f}"})
        return (RIGHT, DONE)[turn_of(asked)]


def words(project: Project, place: Place, *options: str) -> list[str]:
    """What follows `pytest` for a run of two tasks."""
    tasks = [hello_task(name, prompt=f"Do {name}", timeout=TIME) for name in TASKS]
    write_suite(project.folder / "suite", tasks)
    return ["suite", f"--goat-model={MODEL}", f"--goat-modal-env={place.environment}", *options]


def held(trials: dict[str, Any]) -> list[tuple[int, float]]:
    """Refusals of each trial, and the seconds that its calls were held back."""
    found = []
    for trial in trials.values():
        calls = [call_from(call) for call in trial["calls"]]
        found.append((sum(call.refusals for call in calls), seconds_waited(calls)))
    return found


def test_a_limit_that_lifts_is_waited_out_beyond_the_agents_time(
    project: Project, place: Place, providers: Providers
) -> None:
    providers.reset(Limit(CLOSED))
    done = project.pytest(*words(project, place, "-n", "2", "--goat-retries=0"))
    assert done.code == 0, done.said
    trials = project.trials()
    assert {trial["status"] for trial in trials.values()} == {"passed"}
    assert all(trial["attempts"] == [] for trial in trials.values())
    refused = [waited for refusals, waited in held(trials) if refusals]
    assert refused
    assert all(waited >= CLOSED > TIME for waited in refused)


def test_a_limit_that_never_lifts_makes_errors_not_failures(
    project: Project, place: Place, providers: Providers
) -> None:
    providers.reset(lambda asked: Status(429, "Rate limit reached") if task_of(asked) else Answer("OK"))
    adapter = {"name": "silent", "program": silent_agent.__file__, "argv": ["{program}", "{max_turns}"]}
    (project.folder / "silent.json").write_text(json.dumps(adapter))
    options = ("-n", "2", "--goat-retries=0", f"--goat-max-wait={PATIENCE:g}", "--goat-agent=silent.json")
    done = project.pytest(*words(project, place, *options))
    assert done.code == 1, done.said
    trials = project.trials()
    assert {(trial["status"], trial["cause"]) for trial in trials.values()} == {("error", "rate_limited")}
    assert all(waited > 0 for _, waited in held(trials))
    assert "2 errors in" in done.said
    assert "failed" not in done.said.splitlines()[-1]


def test_the_live_line_shows_what_waits(project: Project, place: Place, providers: Providers) -> None:
    seen = threading.Event()

    def reply(asked: Asked) -> Reply:
        if not task_of(asked):
            return Answer("OK")
        if not seen.is_set():
            return Status(429, "Rate limit reached", headers={"Retry-After": "1"})
        return (RIGHT, DONE)[turn_of(asked)]

    providers.reset(reply)
    code, said = run_at_terminal(
        [sys.executable, "-m", "pytest", *words(project, place, "--goat-parallel=2")],
        project.folder,
        project.cloud.environ,
        lambda said: seen.set() if f"waiting for {MODEL} (rate" in said else None,
    )
    assert code == 0, said
    assert seen.is_set(), said
    assert {trial["status"] for trial in project.trials().values()} == {"passed"}, said

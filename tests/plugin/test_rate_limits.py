"""Whole runs against a provider with a rate limit: trials slow down together, and lose none of their time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.plugin.test_outcomes import both_agents, prompt_of, run_suite
from tests.support.model_server import Answer, ModelServer, Reply, Status, ToolCall
from tests.support.runs import junit_outcomes, stored_trials
from tests.support.suites import hello_task

TRIALS = 16
MOST, WINDOW = 8, 1.5
"""Calls in a window of so many seconds."""

WRITE = Answer(tools=[ToolCall("Bash", {"command": "echo hello > hello.txt"})])


def turn_of(request: Mapping[str, Any]) -> int:
    return sum(message["role"] == "assistant" for message in request["messages"])


class Limited:
    """A script for `ModelServer`: each trial writes its file and says so, as far as the limit allows."""

    def __init__(self, *, tells: bool) -> None:
        self._tells, self._lock = tells, threading.Lock()
        self._started = time.monotonic()
        self._taken: dict[int, int] = {}
        self.refusals = 0

    def __call__(self, request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        with self._lock:
            window, into = divmod(time.monotonic() - self._started, WINDOW)
            taken = self._taken.get(int(window), 0)
            if taken >= MOST:
                self.refusals += 1
                left = f"{1000 * (WINDOW - into):.0f}"
                return Status(429, headers={"retry-after-ms": left} if self._tells else {})
            self._taken[int(window)] = taken + 1
        return Answer("Done.") if turn_of(request) else WRITE

    @property
    def answered(self) -> int:
        return sum(self._taken.values())


def run_limited(
    pytester: pytest.Pytester, limited: Limited, *options: str
) -> tuple[dict[str, dict[str, Any]], float]:
    """Run trials of two calls each, all to pass; they as they are stored, and the seconds it took."""
    tasks = [hello_task(f"t{number}", timeout=20) for number in range(TRIALS)]
    with ModelServer(limited) as server:
        began = time.monotonic()
        result = run_suite(pytester, tasks, server.url, "goat-eval", "--goat-retries=0", *options)
        took = time.monotonic() - began
    result.assert_outcomes(passed=TRIALS)
    return stored_trials(pytester.path), took


@pytest.mark.parametrize(
    ("options", "tells"),
    [
        ((f"--goat-parallel={TRIALS}",), True),
        ((f"--goat-parallel={TRIALS}",), False),
        (("-n4",), True),
    ],
    ids=["Retry-After", "no word", "-n 4"],
)
def test_trials_slow_down_together(pytester: pytest.Pytester, options: Sequence[str], tells: bool) -> None:
    limited = Limited(tells=tells)
    trials, took = run_limited(pytester, limited, *options)
    windows = 2 * TRIALS / MOST
    assert took < 4 * windows * WINDOW + 15  # a busy machine takes seconds to start
    assert limited.refusals <= TRIALS + 8 * windows

    calls = [call for trial in trials.values() for call in trial["calls"]]
    assert {(call["status"], call["cause"]) for call in calls} == {(200, None)}
    assert len(calls) == limited.answered - 1 == 2 * TRIALS  # and one of the preflight
    assert sum(call["refusals"] for call in calls) == limited.refusals
    assert sum(call["waited"] > 0 for call in calls) > TRIALS / 2
    assert all(call["waited"] <= call["duration"] for call in calls)


def test_without_it_agents_burn_their_retries(pytester: pytest.Pytester) -> None:
    limited = Limited(tells=False)
    tasks = [hello_task(f"t{number}", timeout=20) for number in range(TRIALS)]
    with ModelServer(limited) as server:
        options = (f"--goat-parallel={TRIALS}", "--goat-max-wait=0")
        run_suite(pytester, tasks, server.url, "goat-eval", *options)
    calls = [call for trial in stored_trials(pytester.path).values() for call in trial["calls"]]
    assert {call["waited"] for call in calls} == {0.0}
    assert {"rate_limited"} <= {call["cause"] for call in calls}


@both_agents
def test_waiting_is_not_the_agents_time(pytester: pytest.Pytester, agent: str) -> None:
    """5 s for the trial, 6 s of which go by before its first call is taken."""
    refused: list[float] = []

    def limited(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        if "hello" not in prompt_of(request):
            return Answer("OK")
        if not refused or time.monotonic() < refused[0] + 6:
            refused.append(time.monotonic())
            return Status(429, headers={"Retry-After": "6"})
        return Answer("Done.") if turn_of(request) else WRITE

    with ModelServer(limited) as server:
        result = run_suite(pytester, [hello_task("slow", timeout=5)], server.url, agent, "--goat-retries=0")
    result.assert_outcomes(passed=1)
    assert len(refused) == 1
    (trial,) = stored_trials(pytester.path).values()
    assert (trial["status"], trial["message"]) == ("passed", "")
    assert trial["calls"][0]["waited"] >= 6
    assert trial["phases"]["agent"] >= 6
    assert junit_outcomes(pytester.path / "junit.xml") == {"slow": "passed"}
    assert 'name="goat_seconds_waited"' in (pytester.path / "junit.xml").read_text()


@both_agents
def test_a_time_limit_holds_all_the_same(pytester: pytest.Pytester, agent: str) -> None:
    sleep = Answer(tools=[ToolCall("Bash", {"command": "sleep 60"})])

    def limited(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        return sleep if "hello" in prompt_of(request) else Answer("OK")

    began = time.monotonic()
    with ModelServer(limited) as server:
        run_suite(pytester, [hello_task("late", timeout=3)], server.url, agent, "--goat-retries=0")
    (trial,) = stored_trials(pytester.path).values()
    assert (trial["status"], trial["cause"]) == ("failed", "timeout")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("agent", "reply", "options"),
    [
        ("silent", Status(429, headers={"Retry-After": "3600"}), ()),
        ("silent", Status(429), ("--goat-max-wait=2",)),
        ("goat-eval", Status(429, headers={"Retry-After": "1"}), ("--goat-max-wait=2",)),
    ],
    ids=["too long", "no word", "always"],
)
def test_refused_to_the_end_is_an_error(
    pytester: pytest.Pytester, agent: str, reply: Status, options: Sequence[str]
) -> None:
    def limited(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        return reply if "hello" in prompt_of(request) else Answer("OK")

    with ModelServer(limited) as server:
        task = hello_task("refused", timeout=8)
        run_suite(pytester, [task], server.url, agent, "--goat-retries=0", *options)
    (trial,) = stored_trials(pytester.path).values()
    assert (trial["status"], trial["cause"]) == ("error", "rate_limited")

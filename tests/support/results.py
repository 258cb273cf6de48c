"""Results for tests: one with sensible values, and strategies for any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.result import Attempt, Phases, Status, TrialResult


def make_result(trial_id: str = "basics-reverse-1", **fields: Any) -> TrialResult:
    """A passed trial, but for what `fields` says."""
    given: dict[str, Any] = {
        "node_id": "benchmarks/basics/reverse.yaml::reverse[gpt-5-mini]",
        "task_id": "reverse",
        "suite": "benchmarks/basics",
        "model": "gpt-5-mini",
        "agent": "goat-eval",
        "epoch": 1,
        "status": Status.PASSED,
    }
    return TrialResult(trial_id=trial_id, **(given | fields))


def make_results(
    passed: int = 0, failed: int = 0, errors: int = 0, skipped: int = 0, **fields: Any
) -> list[TrialResult]:
    """As many of each, each of a task of its own."""
    kinds = [(Status.PASSED, None)] * passed + [(Status.FAILED, Cause.CHECKS_FAILED)] * failed
    kinds += [(Status.ERROR, Cause.RATE_LIMITED)] * errors + [(Status.SKIPPED, None)] * skipped
    return [
        make_result(f"t{number}", **({"task_id": f"task{number}", "status": status, "cause": cause} | fields))
        for number, (status, cause) in enumerate(kinds)
    ]


file_names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.+@-]{0,40}[a-zA-Z0-9]", fullmatch=True)
seconds = st.floats(0, 1e6)
counts = st.integers(0, 10**9)
causes = st.sampled_from(Cause)
usages = st.builds(Usage, counts, counts, counts, counts, st.none() | st.floats(0, 1e4))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(st.text(max_size=8), json_values, max_size=3)
checks = st.builds(
    CheckResult,
    name=st.text(),
    kind=st.sampled_from(["run", "file", "output", "judge"]),
    score=st.floats(0, 1),
    passed=st.booleans(),
    weight=st.floats(0, 10),
    expected=st.text(),
    seen=st.text(),
    error=st.text(max_size=8),
    duration=seconds,
    details=json_objects,
)
calls = st.builds(
    ModelCall,
    started=seconds,
    duration=seconds,
    first_byte=st.none() | seconds,
    status=st.integers(0, 599),
    cause=st.none() | causes,
    message=st.text(),
    model_asked=st.text(),
    model_served=st.text(),
    finish_reason=st.text(max_size=8),
    tool_calls=st.integers(0, 20),
    usage=usages,
    hung_up=st.booleans(),
)
attempts = st.builds(Attempt, causes, st.text(), seconds, usages)
trial_results = st.builds(
    TrialResult,
    trial_id=file_names,
    node_id=st.text(),
    task_id=st.text(),
    suite=st.text(),
    model=st.text(),
    agent=st.text(),
    epoch=st.integers(1, 100),
    status=st.sampled_from(Status),
    variant=st.sampled_from(["baseline", "+skills"]),
    cause=st.none() | causes,
    message=st.text(),
    score=st.none() | st.floats(0, 1),
    unchecked=st.booleans(),
    checks=st.lists(checks, max_size=2).map(tuple),
    answer=st.text(),
    turns=counts,
    usage=usages,
    calls=st.lists(calls, max_size=2).map(tuple),
    attempts=st.lists(attempts, max_size=2).map(tuple),
    phases=st.builds(Phases, seconds, seconds, seconds, seconds),
    started=st.just("2026-11-24T05:36:14.000+00:00"),
    tags=st.lists(st.text(max_size=8), max_size=2).map(tuple),
    source=st.text(),
    changed=st.dictionaries(st.text(), st.sampled_from(["added", "modified", "deleted"]), max_size=2),
    details=json_objects,
)

"""The rules by which a trial is judged, row by row: checks first, then what the gateway saw."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_goat.agent.base import AgentOutcome
from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Seen
from pytest_goat.gateway.causes import TABLE
from pytest_goat.result import Status
from pytest_goat.verdict import INFRASTRUCTURE, OF_THE_WORK, Evidence, Ruling, decide
from tests.support.trials import ended, make_call

PASS = CheckResult("right", "file", 1.0, True)
FAIL = CheckResult("wrong", "file", 0.0, False)
UNRUN = CheckResult("broken", "run", 0.0, False, error="no such command")

DONE = AgentOutcome("Done.", completed=True)
SILENT = AgentOutcome("", completed=False, cause=Cause.NO_ANSWER)
GAVE_UP = AgentOutcome("", completed=False)
"""What goat-eval says when the model could not be asked."""

CUT_SHORT = make_call(finish_reason="", hung_up=True, first_byte=None, status=0)
"""A call that was under way when the agent ended, without a byte so far."""
CUT_IN_ANSWER = make_call(finish_reason="", hung_up=True)
WANTS_TOOLS = make_call(finish_reason="tool_calls", tool_calls=1)


def rule(
    *calls: ModelCall,
    checks: tuple[CheckResult, ...] = (FAIL,),
    outcome: AgentOutcome = DONE,
    needs_model: bool = True,
    **executed: Any,
) -> Ruling:
    evidence = Evidence(
        outcome=outcome,
        executed=ended(**executed),
        seen=Seen(calls),
        checks=checks,
        score=sum(check.score for check in checks) / len(checks) if checks else None,
        checks_pass=all(check.passed for check in checks),
        max_turns=2,
        needs_model=needs_model,
    )
    return decide(evidence)


@pytest.mark.parametrize(
    ("calls", "outcome", "executed", "note"),
    [
        ([make_call()], DONE, {}, ""),
        ([make_call()], SILENT, {}, ""),
        (
            [make_call(Cause.RATE_LIMITED)],
            GAVE_UP,
            {},
            "passed, although the last model call failed: the words of rate_limited",
        ),
        ([make_call(finish_reason="length")], DONE, {}, "passed, although the model's answer was cut"),
        ([WANTS_TOOLS] * 2, DONE, {}, "passed, although the agent's turns ran out"),
        ([WANTS_TOOLS], DONE, {"exit_code": -9, "timed_out": True}, "passed, although the agent's time ran"),
        ([], DONE, {"exit_code": 1}, "passed, although the agent crashed: it never called the model"),
    ],
)
def test_right_work_passes_whatever_happened(
    calls: list[ModelCall], outcome: AgentOutcome, executed: dict[str, Any], note: str
) -> None:
    ruling = rule(*calls, checks=(PASS,), outcome=outcome, **executed)
    assert (ruling.status, ruling.cause) == (Status.PASSED, None)
    assert ruling.message.startswith(note)
    assert bool(ruling.message) == bool(note)


@pytest.mark.parametrize("cause", sorted(INFRASTRUCTURE))
@pytest.mark.parametrize("checks", [(FAIL,), (), (FAIL, UNRUN)], ids=["failed", "none", "unrun"])
@pytest.mark.parametrize("outcome", [DONE, SILENT, GAVE_UP], ids=["done", "silent", "gave up"])
def test_a_last_call_broken_by_infrastructure_is_an_error(
    cause: Cause, checks: tuple[CheckResult, ...], outcome: AgentOutcome
) -> None:
    ruling = rule(make_call(), make_call(cause), checks=checks, outcome=outcome)
    assert ruling == Ruling(Status.ERROR, cause, f"the words of {cause}")


def test_every_cause_of_a_call_is_either_infrastructure_or_the_models() -> None:
    assert {row.cause for row in TABLE} == INFRASTRUCTURE | OF_THE_WORK
    assert not INFRASTRUCTURE & OF_THE_WORK


KILLED = {"exit_code": -9, "timed_out": True}
FORBIDDEN = make_call(Cause.FORBIDDEN)


@pytest.mark.parametrize(
    ("cut_off", "outcome", "executed"),
    [
        (CUT_SHORT, SILENT, {}),
        (CUT_SHORT, SILENT, KILLED),
        (CUT_IN_ANSWER, SILENT, KILLED),
        (CUT_IN_ANSWER, AgentOutcome("", False, Cause.TIMEOUT), {}),
        (FORBIDDEN, GAVE_UP, {}),
    ],
)
def test_a_call_that_tells_nothing_does_not_hide_the_broken_one_before(
    cut_off: ModelCall, outcome: AgentOutcome, executed: dict[str, Any]
) -> None:
    ruling = rule(make_call(), make_call(Cause.MODEL_TIMEOUT), cut_off, outcome=outcome, **executed)
    assert (ruling.status, ruling.cause) == (Status.ERROR, Cause.MODEL_TIMEOUT)


@pytest.mark.parametrize(
    ("calls", "executed", "cause"),
    [
        ([make_call(Cause.MODEL_TIMEOUT), make_call()], KILLED, Cause.TIMEOUT),
        ([make_call(Cause.MODEL_TIMEOUT), WANTS_TOOLS, CUT_SHORT], KILLED, Cause.TIMEOUT),
        ([make_call(Cause.MODEL_TIMEOUT), CUT_IN_ANSWER], {}, Cause.NO_ANSWER),
        ([CUT_SHORT], KILLED, Cause.TIMEOUT),
    ],
)
def test_a_provider_that_recovered_is_not_to_blame(
    calls: list[ModelCall], executed: dict[str, Any], cause: Cause
) -> None:
    ruling = rule(*calls, outcome=SILENT, **executed)
    assert (ruling.status, ruling.cause) == (Status.FAILED, cause)


def test_an_error_that_the_agent_did_not_hear_out_counts() -> None:
    ruling = rule(make_call(Cause.AUTH, hung_up=True, first_byte=None), outcome=SILENT)
    assert (ruling.status, ruling.cause) == (Status.ERROR, Cause.AUTH)


def test_a_check_that_could_not_be_run_is_an_error() -> None:
    for checks in ((UNRUN,), (FAIL, UNRUN), (PASS, UNRUN)):
        ruling = rule(make_call(), checks=checks)
        assert ruling == Ruling(Status.ERROR, Cause.CHECK_ERROR, "broken: no such command")


@pytest.mark.parametrize(
    ("calls", "outcome", "executed", "cause"),
    [
        ([make_call()], DONE, {}, Cause.CHECKS_FAILED),
        ([make_call()], SILENT, {}, Cause.CHECKS_FAILED),
        ([make_call()], DONE, {"exit_code": -9, "timed_out": True}, Cause.TIMEOUT),
        ([make_call()], AgentOutcome("", False, Cause.TIMEOUT), {}, Cause.TIMEOUT),
        ([make_call()], DONE, {"exit_code": -9, "limit": "memory"}, Cause.AGENT_CRASHED),
        ([make_call(Cause.CONTEXT_OVERFLOW)], SILENT, {}, Cause.CONTEXT_OVERFLOW),
        ([make_call(), make_call(Cause.MALFORMED_CALL)], SILENT, {}, Cause.MALFORMED_CALL),
        ([make_call(Cause.REFUSAL)], SILENT, {}, Cause.REFUSAL),
        ([make_call(Cause.AUTH), make_call(), FORBIDDEN], GAVE_UP, {}, Cause.FORBIDDEN),
        ([FORBIDDEN], SILENT, {}, Cause.FORBIDDEN),
        ([make_call(finish_reason="length")], DONE, {}, Cause.LENGTH_CUT),
        ([make_call(finish_reason="content_filter")], DONE, {}, Cause.REFUSAL),
        ([make_call(finish_reason="refusal")], DONE, {}, Cause.REFUSAL),
        ([WANTS_TOOLS] * 2, SILENT, {}, Cause.TURN_LIMIT),
        ([WANTS_TOOLS], SILENT, {}, Cause.NO_ANSWER),
        ([WANTS_TOOLS, make_call()], DONE, {}, Cause.CHECKS_FAILED),
        ([make_call()], AgentOutcome("", False, Cause.TURN_LIMIT), {}, Cause.TURN_LIMIT),
        ([make_call()], AgentOutcome("", False, Cause.REFUSAL), {}, Cause.REFUSAL),
        ([make_call()], AgentOutcome("", False, Cause.AGENT_CRASHED), {"exit_code": 1}, Cause.AGENT_CRASHED),
        ([make_call()], GAVE_UP, {}, Cause.AGENT_CRASHED),
        ([CUT_SHORT], DONE, {}, Cause.NO_ANSWER),
        ([CUT_IN_ANSWER], SILENT, {}, Cause.NO_ANSWER),
        ([], DONE, {}, Cause.AGENT_CRASHED),
    ],
)
def test_wrong_work_fails_and_says_what_was_in_the_way(
    calls: list[ModelCall], outcome: AgentOutcome, executed: dict[str, Any], cause: Cause
) -> None:
    ruling = rule(*calls, outcome=outcome, **executed)
    assert (ruling.status, ruling.cause) == (Status.FAILED, cause)
    assert ruling.message


@pytest.mark.parametrize(
    ("calls", "outcome", "cause"),
    [
        ([make_call()], DONE, None),
        ([make_call()], SILENT, Cause.NO_ANSWER),
        ([CUT_IN_ANSWER], DONE, Cause.NO_ANSWER),
        ([make_call(finish_reason="length")], DONE, Cause.LENGTH_CUT),
        ([make_call(Cause.CONTEXT_OVERFLOW)], DONE, Cause.CONTEXT_OVERFLOW),
        ([], DONE, Cause.AGENT_CRASHED),
    ],
)
def test_without_checks_completing_is_passing(
    calls: list[ModelCall], outcome: AgentOutcome, cause: Cause | None
) -> None:
    ruling = rule(*calls, checks=(), outcome=outcome)
    assert (ruling.status, ruling.cause) == (Status.FAILED if cause else Status.PASSED, cause)


def test_an_agent_that_needs_no_model_is_judged_without_one() -> None:
    assert rule(checks=(PASS,), needs_model=False) == Ruling(Status.PASSED)
    assert rule(needs_model=False).cause is Cause.CHECKS_FAILED
    assert rule(needs_model=False, checks=(), outcome=SILENT).cause is Cause.NO_ANSWER


@pytest.mark.parametrize(
    ("ruling", "message"),
    [
        (rule(make_call(), checks=(PASS, FAIL)), "1 of 2 checks failed: wrong"),
        (rule(make_call(), checks=(FAIL, PASS, FAIL)), "2 of 3 checks failed: wrong (and 1 more)"),
        (rule(make_call(), exit_code=-9, limit="memory"), "the agent crashed: the sandbox's memory limit"),
        (rule(exit_code=3), "the agent crashed: it never called the model, and ended with exit code 3"),
        (
            rule(make_call(), outcome=AgentOutcome("", False, Cause.AGENT_CRASHED, "exit code 3")),
            "the agent crashed: exit code 3",
        ),
        (rule(FORBIDDEN), "the agent asked the gateway for what a trial may not: the words of forbidden"),
        (rule(make_call(), outcome=AgentOutcome("", False, Cause.TIMEOUT)), "the agent's time ran out"),
    ],
)
def test_messages(ruling: Ruling, message: str) -> None:
    assert ruling.message.startswith(message)

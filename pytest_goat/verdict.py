"""From what the checks found and what the gateway saw to a status and its cause.

The agent's own word and its exit code never decide alone: both lie (a v0 agent ends with exit code 0
whatever happened). The rules, first match wins:

| checks | what happened | status |
|---|---|---|
| all pass | anything; it is noted | passed |
| fail or none | the last model call that says something ended badly for a reason of infrastructure | error |
| fail | a check could not be run | error |
| fail | time, turns, length, a last call that blames model or agent, a crash, or simply wrong work | failed |
| none | the agent completed and the last model call ended well | passed, unchecked |
| none | anything else | failed |

A call that was cut off because the agent's time ran out, that it gave up before a byte came, or that the
gateway forbade, tells nothing of infrastructure: then the one before it counts. Else a provider that fails to
the end would pass for a slow agent, and an agent could leave the pass rate by asking for what it may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_goat.agent.base import AgentOutcome
from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Seen
from pytest_goat.result import Status
from pytest_goat.sandbox.base import ExecResult

INFRASTRUCTURE = frozenset(
    {
        Cause.UNREACHABLE,
        Cause.AUTH,
        Cause.MODEL_NOT_FOUND,
        Cause.RATE_LIMITED,
        Cause.PROVIDER_ERROR,
        Cause.STREAM_CUT,
        Cause.MODEL_TIMEOUT,
        Cause.BAD_REQUEST,
        Cause.REPLAY_MISS,
        Cause.INTERNAL,
    }
)
"""Ends of a model call that say nothing about the model."""

OF_THE_WORK = frozenset(
    {Cause.MALFORMED_CALL, Cause.CONTEXT_OVERFLOW, Cause.REFUSAL, Cause.BUDGET, Cause.FORBIDDEN}
)
"""Ends of a model call for which the model or the agent is to blame."""

REFUSALS = frozenset({"content_filter", "refusal"})

WORDS = {
    Cause.TIMEOUT: "the agent's time ran out",
    Cause.TURN_LIMIT: "the agent's turns ran out",
    Cause.LENGTH_CUT: "the model's answer was cut at its length",
    Cause.CONTEXT_OVERFLOW: "the conversation grew longer than the model's context",
    Cause.REFUSAL: "the model refused",
    Cause.MALFORMED_CALL: "the model wrote a tool call that its provider could not read",
    Cause.BUDGET: "the trial's budget ran out",
    Cause.FORBIDDEN: "the agent asked the gateway for what a trial may not",
    Cause.AGENT_CRASHED: "the agent crashed",
    Cause.NO_ANSWER: "the agent ended without an answer",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict rests on."""

    outcome: AgentOutcome
    executed: ExecResult
    seen: Seen
    checks: Sequence[CheckResult]
    score: float | None
    """None when the task has no checks."""
    checks_pass: bool
    max_turns: int
    needs_model: bool


@dataclass(frozen=True, slots=True)
class Ruling:
    """How a trial ended, and why in one line ("" for a plain pass)."""

    status: Status
    cause: Cause | None = None
    message: str = ""


def decide(evidence: Evidence) -> Ruling:
    """Apply the rules of this module's table."""
    broken, limit = _broken_call(evidence), _limit(evidence)
    if evidence.score is not None and evidence.checks_pass:
        return Ruling(Status.PASSED, None, _note(broken, limit, evidence))
    if broken is not None:
        return Ruling(Status.ERROR, broken.cause, broken.message)
    unrun = [check for check in evidence.checks if check.error]
    if unrun:
        return Ruling(Status.ERROR, Cause.CHECK_ERROR, f"{unrun[0].name}: {unrun[0].error}")
    if evidence.score is None and limit is None:
        return Ruling(Status.PASSED)
    if limit is not None:
        return Ruling(Status.FAILED, limit, _words(limit, evidence))
    return Ruling(Status.FAILED, Cause.CHECKS_FAILED, _failed_checks(evidence.checks))


def _broken_call(evidence: Evidence) -> ModelCall | None:
    """The last call that says something, when it ended badly for a reason of infrastructure."""
    ran_out = _ran_out(evidence)
    for call in reversed(evidence.seen.calls):
        given_up = call.cause is None and call.hung_up and (ran_out or call.first_byte is None)
        if not given_up and call.cause is not Cause.FORBIDDEN:
            return call if call.cause in INFRASTRUCTURE else None
    return None


def _ran_out(evidence: Evidence) -> bool:
    return evidence.executed.timed_out or evidence.outcome.cause is Cause.TIMEOUT


def _limit(evidence: Evidence) -> Cause | None:
    """What kept the agent from its own end, most telling first."""
    outcome, last = evidence.outcome, evidence.seen.last
    if _ran_out(evidence):
        return Cause.TIMEOUT
    if evidence.executed.limit:
        return Cause.AGENT_CRASHED
    if last is not None:
        if last.cause in OF_THE_WORK:
            return last.cause
        if last.finish_reason == "length":
            return Cause.LENGTH_CUT
        if last.finish_reason in REFUSALS:
            return Cause.REFUSAL
        if last.tool_calls and evidence.seen.turns >= evidence.max_turns:
            return Cause.TURN_LIMIT
    elif evidence.needs_model:
        return Cause.AGENT_CRASHED
    if outcome.cause is Cause.NO_ANSWER and evidence.score is not None and _came_to_rest(last):
        # It tells nothing, as its kind does; but its work was looked at, and the model had no more to say.
        return None
    if outcome.cause is not None:
        return outcome.cause
    if last is not None and last.hung_up:
        return Cause.NO_ANSWER
    return None if outcome.completed else Cause.AGENT_CRASHED


def _came_to_rest(last: ModelCall | None) -> bool:
    """Whether the model's last answer came whole, and called no tool."""
    return last is not None and last.cause is None and not last.hung_up and not last.tool_calls


def _note(broken: ModelCall | None, limit: Cause | None, evidence: Evidence) -> str:
    """What is said of a trial that passed all the same."""
    if broken is not None:
        return f"passed, although the last model call failed: {broken.message}"
    return f"passed, although {_words(limit, evidence)}" if limit else ""


def _words(cause: Cause, evidence: Evidence) -> str:
    words = WORDS[cause]
    if evidence.executed.limit:
        return f"{words}: the sandbox's {evidence.executed.limit} limit ended it"
    if cause is Cause.AGENT_CRASHED and evidence.needs_model and not evidence.seen.calls:
        exit_code = evidence.executed.exit_code
        return f"{words}: it never called the model, and ended with exit code {exit_code}"
    last = evidence.seen.last
    if cause is Cause.FORBIDDEN and last is not None:
        return f"{words}: {last.message}"
    if evidence.outcome.cause is cause and evidence.outcome.message:
        return f"{words}: {evidence.outcome.message}"
    return words


def _failed_checks(checks: Sequence[CheckResult]) -> str:
    wrong = [check.name for check in checks if not check.passed]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return (
        f"{len(wrong)} of {len(checks)} checks failed: {wrong[0]}{more}"
        if wrong
        else "score below the threshold"
    )

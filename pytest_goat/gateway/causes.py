"""How a model call ended, as a cause: one table, one function.

| what the proxy saw | cause |
|---|---|
| no connection: refused, no such name, TLS, closed before an answer | gateway_unreachable |
| no byte for longer than the model timeout; 408 | model_timeout |
| the answer broke off: connection lost, or a stream ended without `finish_reason` and `[DONE]` | stream_cut |
| our own bug | internal |
| a recording has no answer (`replay_miss`) | replay_miss |
| our proxy, or a recording: the trial has spent all that it may (`trial_budget_exceeded`) | budget |
| our proxy: a rate limit has held the call back for too long (`rate_limit_exceeded`) | rate_limited |
| our proxy refused it: another URL, model, server or key, no JSON, too large, too many | forbidden |
| 400, or an error in the stream, that says the model's tool call cannot be read (Groq) | malformed_call |
| LiteLLM: 500, or an error in the stream, that says the provider's payload is not complete | stream_cut |
| LiteLLM: 500 that says there is no connection to the provider | gateway_unreachable |
| an account without money: 400, 403, 422, 429 or an error in the stream that says so | auth |
| a room for the answer (`max_tokens`) that alone is larger than the context window | bad_request |
| 429; 413 or an error in the stream that speaks of a rate limit or quota | rate_limited |
| 400, 413, 422 or an error in the stream that says the conversation is too long | context_overflow |
| 400 or an error in the stream that names a content policy | refusal |
| 404; 400 or an error in the stream that says there is no such model | model_not_found |
| 401, 402, 403; 400 or an error in the stream that says the key is wrong | auth |
| 3xx, 5xx; any other error inside an answer of 200; an answer that is no chat completion | provider_error |
| any other 4xx | bad_request |
| a whole answer, of whatever worth | none |

Providers word the same error differently. The wordings below are those of OpenAI, Azure OpenAI, Anthropic,
Groq, vLLM, SGLang, llama.cpp, Gemini, xAI and LiteLLM. The first row that fits decides. Of these causes
`malformed_call`, `context_overflow`, `refusal` and `budget` say something about the model, `forbidden` about
the agent: the trial has failed. The others are infrastructure: the trial is an error, tried again where that
may help (`pytest_goat.trial.NEVER_RETRIED`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum, auto

from pytest_goat.errors import Cause


class Ending(Enum):
    """How the exchange with the provider ended."""

    ANSWERED = auto()
    """With a whole HTTP answer, be it an error."""
    UNREACHABLE = auto()
    SILENT = auto()
    """No byte for longer than the model timeout."""
    CUT = auto()
    REFUSED = auto()
    """By the proxy itself; the error is its code."""
    BUG = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known when a call has ended."""

    ending: Ending = Ending.ANSWERED
    status: int = 200
    """The provider's HTTP status, or the one that an error inside its answer names. 200 with an `error` is
    an error inside an answer that names none."""
    error: str = ""
    """Type, code and message of the error; "" when there is none."""


def _is_larger_than_the_window(found: re.Match[str]) -> bool:
    room = found["room"] or found["completion"]
    window = found["window"] or found["maximum"]
    return int(room) > int(window)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: all that is given must hold."""

    cause: Cause
    ending: Ending = Ending.ANSWERED
    statuses: Container[int] = range(1000)
    words: re.Pattern[str] | None = None
    """Searched in the error; None: any error, or none."""
    condition: Callable[[re.Match[str]], bool] = bool
    """On what `words` found."""

    def fits(self, outcome: Outcome) -> bool:
        if outcome.ending is not self.ending or outcome.status not in self.statuses:
            return False
        found = self.words.search(outcome.error) if self.words else None
        return self.words is None or (found is not None and self.condition(found))


_IN_ANSWER = 200
_TOO_LARGE = _words("request too large")
_OVERLOADED = 529
"""Anthropic's own; LiteLLM makes a 500 of it, and of the same inside an answer that has not begun yet."""
_HAS_NO_ROOM = _words("overloaded", "(over|at|no) capacity", "high demand", "temporarily unable")
_UNAVAILABLE = 503

OVER_BUDGET = "trial_budget_exceeded"
"""LiteLLM's `budget_exceeded` is another: the account that pays has no more."""
HELD_TOO_LONG = "rate_limit_exceeded"
"""Codes of the proxy's own refusals."""

TABLE = (
    Row(Cause.UNREACHABLE, Ending.UNREACHABLE),
    Row(Cause.MODEL_TIMEOUT, Ending.SILENT),
    Row(Cause.STREAM_CUT, Ending.CUT),
    Row(Cause.INTERNAL, Ending.BUG),
    Row(Cause.REPLAY_MISS, statuses={400}, words=_words(r"\breplay_miss\b")),
    Row(Cause.BUDGET, Ending.REFUSED, words=_words(OVER_BUDGET)),
    Row(Cause.BUDGET, statuses={403}, words=_words(OVER_BUDGET)),
    Row(Cause.RATE_LIMITED, Ending.REFUSED, words=_words(HELD_TOO_LONG)),
    Row(Cause.FORBIDDEN, Ending.REFUSED),
    # Before all others with words: the call itself, which the model wrote, may stand in the error.
    Row(
        Cause.MALFORMED_CALL,
        statuses={_IN_ANSWER, 400},
        words=_words(r"\btool_use_failed\b", r"\bfailed to call a function\b", r"\bfailed_generation\b"),
    ),
    Row(
        Cause.STREAM_CUT,
        statuses={_IN_ANSWER, 500},
        words=_words(r"payload is not completed", r"incomplete chunked read"),
    ),
    Row(
        Cause.UNREACHABLE,
        statuses={500},
        words=_words(r"Exception\b.{0,40} - (server disconnected|connection error|cannot connect to host)"),
    ),
    Row(
        Cause.AUTH,
        statuses={_IN_ANSWER, 400, 403, 422, 429},
        words=_words(r"insufficient_quota", r"credit balance is too low", r"budget.?(has been )?exceeded"),
    ),
    Row(Cause.BAD_REQUEST, statuses={404}, words=_words(r"\bunknown_url\b")),
    Row(
        Cause.BAD_REQUEST,
        statuses={400},
        words=_words(
            r"too large: (?P<room>\d+)\b.{0,40}maximum context length is (?P<window>\d+)",
            r"maximum context length is (?P<maximum>\d+).{0,120}?(?P<completion>\d+) in the completion",
        ),
        condition=_is_larger_than_the_window,
    ),
    Row(
        Cause.RATE_LIMITED,
        statuses={_IN_ANSWER, 413},
        words=_words(
            r"rate.?limit", r"tokens per minute", r"too many requests", r"quota", r"resource.?exhausted"
        ),
    ),
    Row(
        Cause.CONTEXT_OVERFLOW,
        statuses={_IN_ANSWER, 400, 413, 422},
        words=_words(
            r"context.?(length|window|size|limit)",
            r"prompt is too long",
            r"input is too long",
            r"reduce the length",
            r"request_too_large",
            r"string_above_max_length",
            r"maximum (prompt|model) length",
            r"input token count .{1,40}exceeds",
            r"too many (input )?tokens",
        ),
    ),
    Row(
        Cause.REFUSAL,
        statuses={_IN_ANSWER, 400},
        words=_words(r"content.?(filter|policy|management policy)", r"ResponsibleAIPolicyViolation"),
    ),
    Row(
        Cause.MODEL_NOT_FOUND,
        statuses={_IN_ANSWER, 400},
        words=_words(
            r"model.?not.?(found|exist)",
            r"(invalid model name|unknown model|no such model)",
            r"model .{1,200}(does not|doesn't) exist",
            r"decommissioned",
        ),
    ),
    Row(
        Cause.AUTH,
        statuses={_IN_ANSWER, 400},
        words=_words(
            r"(invalid|incorrect).?api.?key", r"api key not valid", r"authentication", r"no_db_connection"
        ),
    ),
    Row(Cause.AUTH, statuses={401, 402, 403}),
    Row(Cause.MODEL_NOT_FOUND, statuses={404}),
    Row(Cause.MODEL_TIMEOUT, statuses={408}),
    Row(Cause.RATE_LIMITED, statuses={429}),
    Row(Cause.BAD_REQUEST, statuses=range(400, 500)),
    Row(Cause.PROVIDER_ERROR, statuses=range(300, 1000)),
    Row(Cause.PROVIDER_ERROR, statuses=range(300), words=_words(".")),
)


def cause_of(outcome: Outcome) -> Cause | None:
    """The cause of the first row of `TABLE` that fits; None when the call ended well."""
    return next((row.cause for row in TABLE if row.fits(outcome)), None)


def is_refusal(outcome: Outcome, comes_again: bool = False) -> bool:
    """Whether the provider, before it did anything, put the call off: for its rate, or as overloaded.

    `comes_again`: it says when to try again, which makes a 503 such an answer, too (RFC 9110, 15.6.4).
    """
    if outcome.ending is not Ending.ANSWERED:
        return False
    if _TOO_LARGE.search(outcome.error):
        return False  # for any rate
    if outcome.status == _OVERLOADED or (outcome.status == _UNAVAILABLE and comes_again):
        return True
    if outcome.status in (_IN_ANSWER, 429) and cause_of(outcome) is Cause.RATE_LIMITED:
        return True
    may_say_so = outcome.status == _IN_ANSWER or outcome.status >= 500
    return may_say_so and _HAS_NO_ROOM.search(outcome.error) is not None

"""One call while it is under way, and the `ModelCall` that it makes."""

from __future__ import annotations

import dataclasses
import math
import time
from operator import itemgetter

from pytest_goat.errors import Cause
from pytest_goat.gateway.answer import Findings
from pytest_goat.gateway.base import ModelCall, Seen, Usage, seconds_waited
from pytest_goat.gateway.causes import Outcome, cause_of
from pytest_goat.gateway.heard import Heard, Words, hear
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.redact import Redactor

_MESSAGE = 500
_NAME = 200
"""Characters kept of what others say: an error, a model's name."""
_MAX_WORDS = 4000
"""Characters of an error in which its cause is looked for."""

_MAY_COST = (Cause.STREAM_CUT, Cause.MODEL_TIMEOUT)
"""Ends of a call to which the model may have written. Other errors are free of charge."""


class CallRecord:
    """Notes what happens in one call; `as_call` is what is known so far.

    Until `end` is called the call counts as one that the agent hung up on, unless the answer was complete; an
    error that the agent did not hear out is one all the same.
    """

    def __init__(self, opened: float, redactor: Redactor) -> None:
        """`opened`: when the trial's endpoint was, on the monotonic clock."""
        self._started = time.monotonic()
        self._offset = self._started - opened
        self._redactor = redactor
        self._duration: float | None = None
        self._first_byte: float | None = None
        self.ended = False
        """Nothing that is still to come changes what is known of the call."""
        self._cause: Cause | None = None
        self._message = ""
        self.found = Findings()
        self.forwarded = False
        """A provider was asked."""
        self.model_asked = ""
        self.request: ModelRequest | None = None
        """None until it has been read."""
        self.status = 0
        self.allowance = 0.0
        """Seconds, from its beginning, that rate limits may yet hold back calls of its trial."""
        self.longest = math.inf
        """Seconds, from its beginning, after which it must be told that it is held back, to come again."""
        self.refusals = 0
        """How often the provider put it off for its rate."""
        self.sent = 0.0
        """When it was sent last, by the clock of its throttle."""
        self._held = False
        self._waited = 0.0

    def byte(self) -> None:
        """Something of the answer's body came."""
        if self._first_byte is None:
            self._first_byte = time.monotonic() - self._started

    @property
    def waited(self) -> float:
        """Seconds, from its beginning, in which a rate limit has held it back."""
        return self._elapsed if self._held else self._waited

    @property
    def left(self) -> float:
        """Seconds that rate limits may hold back calls of its trial from now on."""
        return max(0.0, self.allowance - self._elapsed)

    @property
    def patience(self) -> float:
        """Seconds that it may be held back itself from now on."""
        return min(self.left, max(0.0, self.longest - self._elapsed))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started if self._duration is None else self._duration

    def hold(self) -> None:
        """A rate limit holds it back."""
        self._held = True

    def release(self) -> None:
        """It is sent."""
        self._waited, self._held = self._elapsed, False

    def again(self) -> None:
        """It is to be tried again, as if it had not been sent."""
        words = None if self.found.words is None else Words()
        self.found = Findings(words=words)
        self.status, self._first_byte = 0, None

    def end(self, outcome: Outcome, message: str) -> None:
        """The call has ended otherwise than by the agent's hanging up."""
        self.ended = True
        self._cause = cause_of(outcome)
        self._message = message if self._cause else ""
        self.stop()

    def stop(self) -> None:
        """Nothing more will come."""
        if self._duration is None:
            self._duration = time.monotonic() - self._started

    def error(self) -> tuple[Outcome, str] | None:
        """The error in the answer, as far as it has come, and the same in words; None while there is none."""
        error = self.found.error
        if error is None:
            return (Outcome(status=self.status), f"HTTP {self.status}") if self.status >= 300 else None
        text = f"{error.kinds} {error.message}"[:_MAX_WORDS]
        if self.status >= 300:
            return Outcome(status=self.status, error=text), f"HTTP {self.status}: {error.message}"
        return Outcome(status=error.status or 200, error=text), f"in the answer: {error.message}"

    def heard(self, call: ModelCall) -> Heard | None:
        """What was answered, when `call` is what is known of it; None when nothing was asked, or is kept."""
        request, words = self.request, self.found.words
        return hear(request, words, self.found.error, call) if request and words else None

    def as_call(self) -> ModelCall:
        found, clean = self.found, self._redactor.text
        cause, message = self._cause, self._message
        if not self.ended and (error := self.error()) is not None:
            cause, message = cause_of(error[0]), error[1]
        return ModelCall(
            started=self._offset,
            duration=self._elapsed,
            first_byte=self._first_byte,
            status=self.status,
            cause=cause,
            message=clean(message)[:_MESSAGE],
            model_asked=clean(self.model_asked)[:_NAME],
            model_served=clean(found.model)[:_NAME],
            finish_reason=clean(found.finish_reason)[:_NAME],
            tool_calls=len(found.tool_calls),
            usage=self._usage(cause),
            hung_up=not (self.ended or found.complete),
            waited=self.waited,
            refusals=self.refusals,
        )

    def _usage(self, cause: Cause | None) -> Usage:
        usage = self.found.usage
        lost = self.forwarded and usage.cost is None and (self.status < 300 or cause in _MAY_COST)
        return dataclasses.replace(usage, unpriced=1) if lost else usage


class TrialRecord:
    """All calls of one trial."""

    def __init__(self, redactor: Redactor, *, keep_words: bool = False) -> None:
        """`keep_words`: whether what is answered is to be kept, for a recording."""
        self._opened = time.monotonic()
        self._redactor = redactor
        self._keep_words = keep_words
        self._under_way: list[CallRecord] = []
        self._ended: list[ModelCall] = []
        self._heard: list[tuple[float, Heard]] = []
        self._waits: list[ModelCall] = []
        """Those of `_ended` that were held back."""
        self._usage = Usage()

    @property
    def spent(self) -> float:
        """USD of all calls that have ended and of whose cost somebody told."""
        return self._usage.cost or 0.0

    def __len__(self) -> int:
        return len(self._ended) + len(self._under_way)

    @property
    def waited(self) -> float:
        """Seconds in which a rate limit has held back one of its calls or more."""
        return seconds_waited([*self._waits, *(call.as_call() for call in self._under_way)])

    def begin(self, max_wait: float = 0.0) -> CallRecord:
        """A call; rate limits may hold back all calls of the trial for `max_wait` seconds."""
        call = CallRecord(self._opened, self._redactor)
        call.allowance = max_wait - self.waited if max_wait else 0.0
        call.found.words = Words() if self._keep_words else None
        self._under_way.append(call)
        return call

    def close(self, call: CallRecord) -> ModelCall:
        """`call` is over, however it went."""
        call.stop()
        self._under_way.remove(call)
        self._ended.append(call.as_call())
        if call.waited:
            self._waits.append(self._ended[-1])
        self._heard += _heard(call, self._ended[-1])
        self._usage += self._ended[-1].usage
        return self._ended[-1]

    def seen(self) -> Seen:
        under_way = [call.as_call() for call in self._under_way]
        heard = list(self._heard)
        for call, seen in zip(self._under_way, under_way, strict=True):
            heard += _heard(call, seen)
        answers = tuple(answer for _, answer in sorted(heard, key=itemgetter(0)))
        usage = sum((call.usage for call in under_way), self._usage)
        return Seen((*self._ended, *under_way), usage, answers)


def _heard(record: CallRecord, call: ModelCall) -> list[tuple[float, Heard]]:
    """What was answered, with the second at which it was asked; [] when nothing was asked, or is kept."""
    answer = record.heard(call)
    return [(call.started, answer)] if answer else []

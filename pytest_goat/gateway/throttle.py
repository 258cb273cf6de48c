"""One pace for all calls that use up the same rate limit, in all processes of this machine.

A refusal (`pytest_goat.gateway.causes.is_refusal`) stops all of them for as long as the provider says, or
for 1, 2, 4 s ... while refusals follow each other. After the pause one call goes first; the others follow at
a distance that shrinks with each answer: at first by half, and by little once it is known at what rate
answers came between two pauses. So the pace settles just above what the limit allows.

Machines, and the containers of a deployed gateway, know nothing of each other. Each finds its own pace in the
same way, since the answers that it counts are its share of the limit; each hears refusals of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from pytest_goat.errors import UserError
from pytest_goat.gateway.base import Waiting
from pytest_goat.shared import SharedRecord

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds without a call where the provider says no time."""
LEAST_PAUSE = 0.05
"""Seconds, whatever the provider says."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds: who is told to wait longer has used up more than a rate."""
HOPE = 120.0
"""Seconds of refusals without one answer after which calls are held back no longer: limits by the minute have
opened by then. Twice what the provider says, where that is more."""
FORGET = 600.0
"""Seconds after the last refusal at which calls go as they come."""
IDLE = 5.0
"""Seconds in which no call came: the rate of answers then says nothing of the limit."""

_JITTER, _MOST_JITTER = 0.25, 2.0
"""Share of a pause, and seconds, by which it is longer by chance: other machines and containers wait too."""
_SHARE = 0.9
"""Of the distance that is known to go well: the limit may have grown."""
_EASE = 0.99
"""What is left of the distance after each answer, once that distance is known."""
_LOOK, _TICK = 0.2, 0.001
"""Seconds between two looks at what other processes have heard, at most and at least."""


@dataclass(slots=True)
class Pace:
    """When the next call may go. Times are seconds since the epoch."""

    opens: float = 0.0
    """The end of the pause."""
    last: float = 0.0
    """When a call was last let through."""
    distance: float = 0.0
    """Seconds between calls; 0: they go as they come."""
    known: bool = False
    """`distance` comes from answers that were counted."""
    pause: float = 0.0
    """Seconds of the last pause; 0 once a call was answered after it."""
    refused: float = 0.0
    """When calls were last told to wait; 0: never."""
    since: float = 0.0
    """The first of the refusals that no answer has ended yet, or the first call after a time without any."""
    hope: float = HOPE
    """Seconds after `since` at which there is none any more."""
    counted: float = 0.0
    """Since when answers are counted; 0: they are not."""
    answers: int = 0

    def turn(self, now: float) -> float:
        """Take the next turn, when that is now; else the seconds until it comes."""
        ahead = max(self.opens, self.last + self.distance) - now
        if self.refused and not self.refused - FORGET < now < max(self.refused, self.opens) + FORGET:
            self._forget()  # long ago, or the clock was set back
        elif ahead > 0:
            return ahead
        elif ahead < -IDLE:
            self.counted, self.since = 0.0, now
        self.last = now
        return 0.0

    def hopeless(self, now: float) -> bool:
        """Whether no answer is to be expected within a time that is worth waiting for."""
        return self.pause > 0 and max(self.opens, now) > self.since + self.hope

    def refuse(self, sent: float, retry_after: float | None, now: float) -> float:
        """A call that went at `sent` was refused at `now`; the seconds until the next one may go."""
        if sent < self.refused and retry_after is None:
            return self.opens - now  # it was under way with the one that was told to wait before
        if sent >= self.refused:
            if not self.pause:
                self.since, self.hope = now, HOPE
            self.pause = min(2 * self.pause, LONGEST_PAUSE) or FIRST_PAUSE
            self.refused = now
        wait = self.pause if retry_after is None else max(retry_after, LEAST_PAUSE)
        self.hope = max(self.hope, 2 * wait)
        self.distance = self.distance or FIRST_PAUSE
        jitter = random.uniform(0, min(_JITTER * wait, _MOST_JITTER))  # noqa: S311 - spreads load
        self.opens = max(self.opens, now + wait + jitter)
        self.last = min(self.last, self.opens - self.distance)  # the pause is all that the next one waits for
        return self.opens - now

    def grant(self, sent: float, now: float) -> None:
        """A call that went at `sent` is answered at `now`."""
        if sent < self.refused:
            pass  # it was under way already
        elif self.pause:
            self._resume(now)
        else:
            self.distance *= _EASE if self.known else 0.5
        self.answers += 1

    def _resume(self, now: float) -> None:
        """The limit has opened again: from one such moment to the next, answers come at its own rate."""
        if self.counted and self.answers:
            self.distance = min(_SHARE * (now - self.counted) / self.answers, LONGEST_PAUSE)
            self.known = True
        self.counted, self.answers, self.pause = now, 0, 0.0

    def _forget(self) -> None:
        fresh = Pace()
        for name in Pace.__slots__:
            setattr(self, name, getattr(fresh, name))


class Throttle:
    """The pace of the calls that use up `quota`, any text; the same for all processes of this user.

    `folder` holds what they share. Raises `OSError` where it cannot be made or belongs to somebody else.
    """

    def __init__(
        self,
        quota: str,
        folder: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        name = hashlib.sha256(quota.encode()).hexdigest()[:24]
        self._pace = SharedRecord(f"rate-{name}.json", Pace, folder)
        self._clock, self._sleep = clock, sleep
        self._queue = asyncio.Lock()
        self.waiting = 0
        """Calls of this process that are held back."""
        self.opens = 0.0
        """When the next of them may go, as far as is known: seconds since the epoch."""

    def take(self) -> bool:
        """Let a call through at once, if that may be."""
        return not self._queue.locked() and self._turn() == 0

    async def wait(self, patience: float) -> bool:
        """Wait for the turn of a call, after those that came before it, for at most `patience` seconds.

        False when it has not come, or there is no hope that it will.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(patience), self._queue:
                while (ahead := self._turn()) > 0:
                    if ahead == math.inf:
                        return False
                    await self._sleep(min(max(ahead, _TICK), _LOOK))
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1
        return True

    def refused(self, sent: float, retry_after: float | None) -> float:
        """The provider refused a call that went at `sent`, and wants the next one in `retry_after` seconds.

        Returns the seconds until that may go; infinity when it is not worth to wait.
        """
        if retry_after is not None and retry_after > LONGEST_RETRY_AFTER:
            return math.inf
        now = self._clock()
        with self._pace.changed() as pace:
            ahead = pace.refuse(sent, retry_after, now)
            self.opens = pace.opens
            return math.inf if pace.hopeless(now) else ahead

    def granted(self, sent: float) -> None:
        """The provider answers a call that went at `sent`."""
        if self._pace.written:
            with self._pace.changed() as pace:
                pace.grant(sent, self._clock())

    def now(self) -> float:
        """Seconds since the epoch, as `sent` is to be told."""
        return self._clock()

    def _turn(self) -> float:
        if not self._pace.written:
            return 0.0
        now = self._clock()
        with self._pace.changed() as pace:
            ahead = pace.turn(now)
            self.opens = now + ahead
            return math.inf if ahead > 0 and pace.hopeless(now) else ahead


class Throttles:
    """The throttles of one process."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: as `Throttle`."""
        self._folder = folder
        self._throttles: dict[str, Throttle] = {}

    def of(self, quota: str) -> Throttle | None:
        """The one for `quota`; None for "", which nothing uses up. Raises `UserError`."""
        if not quota:
            return None
        if quota not in self._throttles:
            try:
                self._throttles[quota] = Throttle(quota, self._folder)
            except OSError as error:
                raise UserError(f"rate limits: {error}: set TMPDIR to a folder of your own") from error
        return self._throttles[quota]

    def waiting(self, quotas: Mapping[str, str]) -> list[Waiting]:
        """What is held back now, of the models whose quotas are given."""
        now, found = time.time(), []
        for model, quota in quotas.items():
            throttle = self._throttles.get(quota)
            if throttle is not None and throttle.waiting:
                found.append(Waiting(model, throttle.waiting, max(0.0, throttle.opens - now)))
        return found


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a refusal asks to wait for, at `now` in seconds since the epoch; None for no word.

    `Retry-After` (RFC 9110, 10.2.3) is seconds or a date; `retry-after-ms`, which Azure and OpenAI send
    beside it, is finer.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        return max(parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now, 0.0)
    except (ValueError, TypeError):
        return None

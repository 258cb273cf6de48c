"""How often sandboxes are made: a rate for all processes of this user on this machine.

Modal bounds the sandboxes made per second in a workspace, by a number that it does not tell. The time of the
next free slot is what the processes share. After an answer that a quota is used up there is no slot for a
while, then they come at half the rate, which grows again: as TCP avoids congestion (RFC 5681, section 3.1),
but for its growth, which doubles the rate in some time, since workspaces differ by orders of magnitude.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.shared import SharedRecord

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0
"""Seconds without a slot after an answer that a quota is used up; doubled with each one that follows."""
_LEAST_RATE = 1.0
"""Slots per second below which the rate is not halved."""
_DOUBLING = 10.0
"""Seconds in which a rate that was halved doubles."""
_AHEAD = 0.25
"""Seconds for which a process takes slots at once, when so many wait in it."""
_HORIZON = 3600.0
"""Seconds ahead that a slot can lie: what is further is from a clock that was set back."""


@dataclass(slots=True)
class _Plan:
    """Times are in seconds since the epoch."""

    next: float = 0.0
    pause: float = 0.0
    """The last one, until a sandbox is made."""
    resumed: float = 0.0
    """When it ends, or ended."""
    share: float = 1.0
    """Of the rate that slots had then."""

    def share_at(self, when: float) -> float:
        """Of the rate that slots have at a time after that."""
        doublings = min(max(when - self.resumed, 0.0) / _DOUBLING, 64.0)
        return min(self.share * math.exp2(doublings), 1.0)


class CreationLimiter:
    """Gives slots, `rate` per second. `folder` holds the shared file; one for each user by default.

    Raises `OSError` where the folder cannot be made or belongs to somebody else.
    """

    def __init__(self, rate: float, folder: Path | None = None) -> None:
        self._interval = 1 / rate
        self._plan = SharedRecord("modal-creations.json", _Plan, folder)
        self._slowed = False
        self._ahead: deque[float] = deque()
        """The slots that this process has taken and not given yet."""
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._timer: asyncio.Handle | None = None
        """There as long as somebody waits."""

    async def slot(self, *, again: bool = False) -> float:
        """Wait for a slot; gives its time, for `refused`. `again`: after such a one, so before all others.

        One that is not used, because its owner was cancelled, is lost.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[float] = loop.create_future()
        if again:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        if self._timer is None:
            self._timer = loop.call_soon(self._give)  # others who come now share the look at the record
        return await waiter

    def _give(self) -> None:
        """Give all slots that are due: one at a time would cost a turn of a busy loop for each."""
        self._timer = None
        while self._waiting:
            if self._waiting[0].done():  # cancelled
                self._waiting.popleft()
                continue
            try:
                wait = self._next() - time.time()
            except OSError as error:
                self._waiting.popleft().set_exception(error)
                continue
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._give)
                return
            self._waiting.popleft().set_result(self._ahead.popleft())

    def _next(self) -> float:
        if not self._ahead:
            self._take()
        return self._ahead[0]

    def _take(self) -> None:
        now = time.time()
        with self._plan.changed() as plan:
            self._slowed = plan.pause > 0
            if plan.next > now + _HORIZON:
                plan.next = 0.0
            # Slots that nobody wanted are lost, but who is a little late is not to lose one.
            first = plan.next if plan.next > now - _AHEAD else now
            interval = self._interval / plan.share_at(first)
            count = max(1, min(len(self._waiting), int(_AHEAD / interval)))
            self._ahead.extend(first + number * interval for number in range(count))
            plan.next = first + count * interval

    def refused(self, slot: float) -> None:
        """A quota was used up at `slot`: let all wait, longer each time that it happens in a row."""
        self._ahead.clear()
        with self._plan.changed() as plan:
            if slot < plan.resumed:
                return  # asked for before all were told to wait
            plan.share = max(plan.share_at(slot) / 2, min(_LEAST_RATE * self._interval, 1.0))
            plan.pause = min(max(2 * plan.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            plan.resumed = time.time() + plan.pause * random.uniform(1, 1.5)  # noqa: S311 - spreads load
            plan.next = max(plan.next, plan.resumed)
            self._slowed = True

    def granted(self) -> None:
        """A sandbox was made: no quota is used up."""
        if self._slowed:
            self._slowed = False
            with self._plan.changed() as plan:
                plan.pause = 0.0

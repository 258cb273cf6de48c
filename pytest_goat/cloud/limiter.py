"""How often sandboxes are made: a rate for all processes of this user on this machine.

Modal bounds the sandboxes made per second in a workspace. The time of the next free slot is what the
processes share.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.shared import SharedRecord

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0
"""Seconds without a slot after an answer that a quota is used up; doubled with each one that follows."""
_HORIZON = 3600.0
"""Seconds ahead that a slot can lie: what is further is from a clock that was set back."""


@dataclass(slots=True)
class _Plan:
    next: float = 0.0
    """Seconds since the epoch."""
    pause: float = 0.0


class CreationLimiter:
    """Gives slots, `rate` per second. `folder` holds the shared file; one for each user by default.

    Raises `OSError` where the folder cannot be made or belongs to somebody else.
    """

    def __init__(self, rate: float, folder: Path | None = None) -> None:
        self._interval = 1 / rate
        self._plan = SharedRecord("modal-creations.json", _Plan, folder)
        self._slowed = False

    async def slot(self) -> None:
        """Wait for a slot. One that is not used, because its owner was cancelled, is lost."""
        now = time.time()
        with self._plan.changed() as plan:
            self._slowed = plan.pause > 0
            if plan.next > now + _HORIZON:
                plan.next = 0.0
            slot = max(plan.next, now)
            plan.next = slot + self._interval
        await asyncio.sleep(slot - now)

    def refused(self) -> None:
        """A quota is used up: let all wait, longer each time that it happens in a row."""
        with self._plan.changed() as plan:
            plan.pause = min(max(2 * plan.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            resumed = time.time() + plan.pause * random.uniform(1, 1.5)  # noqa: S311 - spreads load
            plan.next = max(plan.next, resumed)

    def granted(self) -> None:
        """A sandbox was made: no quota is used up."""
        if self._slowed:
            with self._plan.changed() as plan:
                plan.pause = 0.0

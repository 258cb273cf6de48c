"""How often sandboxes are made: a rate for all processes of this user on this machine.

Modal bounds the sandboxes made per second in a workspace. A file with the time of the next free slot is what
the processes share, under flock(2).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

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
        folder = folder or Path(tempfile.gettempdir(), f"pytest-goat-{os.getuid()}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise OSError(f"{folder} belongs to another user")
        self._path = folder / "modal-creations.json"
        self._slowed = False

    async def slot(self) -> None:
        """Wait for a slot. One that is not used, because its owner was cancelled, is lost."""
        now = time.time()
        with self._plan() as plan:
            self._slowed = plan.pause > 0
            if plan.next > now + _HORIZON:
                plan.next = 0.0
            slot = max(plan.next, now)
            plan.next = slot + self._interval
        await asyncio.sleep(slot - now)

    def refused(self) -> None:
        """A quota is used up: let all wait, longer each time that it happens in a row."""
        with self._plan() as plan:
            plan.pause = min(max(2 * plan.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            resumed = time.time() + plan.pause * random.uniform(1, 1.5)  # noqa: S311 - spreads load
            plan.next = max(plan.next, resumed)

    def granted(self) -> None:
        """A sandbox was made: no quota is used up."""
        if self._slowed:
            with self._plan() as plan:
                plan.pause = 0.0

    @contextmanager
    def _plan(self) -> Iterator[_Plan]:
        """What the processes share, to be read and changed while no other one does."""
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            plan = _read(file)
            yield plan
            file.truncate(0)
            json.dump(asdict(plan), file)


def _read(file: IO[str]) -> _Plan:
    file.seek(0)
    try:
        return _Plan(**json.load(file))
    except (ValueError, TypeError):
        return _Plan()  # new, or cut off in the middle

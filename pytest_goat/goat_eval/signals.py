"""SIGTERM, SIGINT, the deadline and time limits of tools, all as exceptions raised in the main thread.

An exception wakes whatever blocks (a read, a wait, a regular expression), which a flag would not.
"""

from __future__ import annotations

import signal
import time

from .errors import Stopped, ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_AGAIN = 0.5
"""Seconds until the exception is raised again: Python drops one that is raised inside a destructor. And the
least that a deadline is put off by."""


class Signals:
    """Between `listen` and `ignore`, `Stopped` can come up anywhere."""

    def __init__(self) -> None:
        self._deadline = 0.0
        self._limit = 0.0
        self._limit_seconds = 0.0
        self._stopped: Stopped | None = None
        self._given = 0.0

    def listen(self, deadline: float, more: Callable[[], float] = lambda: 0.0) -> None:
        """Raise `Stopped` upon SIGTERM, SIGINT, and in `deadline` seconds (0: never).

        When they are over, `more` is asked by how many seconds they are prolonged, until it gives no more.
        """
        self._deadline = time.monotonic() + deadline if deadline else 0.0
        self._more = more
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._alarm)
        self._arm()

    def limit(self, seconds: float) -> Signals:
        """`with signals.limit(s):` raises `ToolError` inside the block when it takes longer."""
        self._limit_seconds = seconds
        return self

    def __enter__(self) -> None:
        self._limit = time.monotonic() + self._limit_seconds
        self._arm()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit = 0.0
        self._arm()

    def ignore(self) -> None:
        """From here on nothing interrupts: what is left is killing, writing and leaving."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def _arm(self) -> None:
        ends = [end for end in (self._deadline, self._limit) if end]
        wait = max(min(ends) - time.monotonic(), 0.001) if ends else 0.0
        signal.setitimer(signal.ITIMER_REAL, wait, _AGAIN if ends else 0.0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = Stopped(number)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        raise self._stopped

    def _prolong(self) -> bool:
        """Put the deadline off, when there is more time."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        given, self._given = self._given, self._more()
        if self._given <= given:
            return False
        self._deadline += max(self._given - given, _AGAIN)
        self._arm()
        return True

    def _alarm(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stopped is None and self._deadline and now >= self._deadline and not self._prolong():
            self._stopped = Stopped(0)
        if self._stopped is not None:
            raise self._stopped
        if self._limit and now >= self._limit:
            self._limit = 0.0
            raise ToolError(f"it took longer than {self._limit_seconds:g} s; ask for less at once")

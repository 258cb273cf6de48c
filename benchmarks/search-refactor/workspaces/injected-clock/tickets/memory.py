"""Remembers answers for a while."""

from collections.abc import Callable
from time import monotonic
from typing import Any


class Memory:
    def __init__(self, seconds: float, timer: Callable[[], float] = monotonic) -> None:
        self.seconds = seconds
        self._timer = timer
        self._kept: dict[str, tuple[float, Any]] = {}

    def put(self, key: str, value: Any) -> None:
        self._kept[key] = (self._timer(), value)

    def get(self, key: str) -> Any:
        """The value, or None when there is none that is younger than `seconds`."""
        since, value = self._kept.get(key, (float("-inf"), None))
        return value if self._timer() - since < self.seconds else None

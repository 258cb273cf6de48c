"""Waits for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: str, condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for `condition`. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)

"""Waits until a web function answers that it is ready, however long its container takes to start."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PAUSE = 0.5
PROGRESS = 15.0
"""Seconds between two lines of progress, and for one request: Modal holds it while the container starts."""
PATIENCE = 3.0
"""Seconds until the first of them."""

_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What `GET /health` brought."""

    status: int
    """Of HTTP; 0 when there was no answer."""
    body: dict[str, Any]
    """{} when it was no JSON object."""
    problem: str = ""
    """Why there was no answer."""

    def __str__(self) -> str:
        """In words, for an error."""
        if not self.status:
            return self.problem
        return f"HTTP {self.status}" + (f" {json.dumps(self.body)}" if self.body else "")


def wait_until_ready(
    url: str, ready: Callable[[Answer], bool], deadline: float, progress: Callable[[float], None]
) -> Answer:
    """Ask `url`/health until `ready` says so, or `deadline` seconds are over; returns the last answer.

    `progress` is called now and then with the seconds that have passed.
    """
    start = time.monotonic()
    told = start + PATIENCE - PROGRESS
    while True:
        left = start + deadline - time.monotonic()
        answer = _ask(f"{url}/health", max(PAUSE, min(left, PROGRESS)))
        now = time.monotonic()
        if ready(answer) or now - start + PAUSE > deadline:
            return answer
        if now - told >= PROGRESS:
            told = now
            progress(now - start)
        time.sleep(PAUSE)


def _ask(url: str, timeout: float) -> Answer:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 - a URL that Modal told
            return Answer(response.status, _json(response.read(_MOST)))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _json(error.read(_MOST)))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, {}, f"no answer: {getattr(error, 'reason', None) or error}")


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

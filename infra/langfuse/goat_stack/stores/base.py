"""What the supervisor asks of everything that it starts."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Protocol

from goat_stack.generations import Backup, Snapshot

ASK_SECONDS = 5.0
"""A health question is answered within this, or the part is not healthy."""


class Part(Protocol):
    """A server or program that runs as one process."""

    name: str

    def start(self) -> None:
        """Start the process, which is ready only when `healthy` says so; raises StackError."""

    def running(self) -> bool:
        """Whether its process lives."""

    def healthy(self) -> bool:
        """Whether it answers; never raises."""

    def stop(self) -> None:
        """End it cleanly, by force when it takes too long."""


class Store(Part, Protocol):
    """A part whose data is kept on the volume."""

    def prepare(self, backup: Backup | None) -> None:
        """Make its data folder anew, from `backup` or empty; raises StackError."""

    def finish(self) -> None:
        """Do once per boot what needs the server to answer; raises StackError."""

    def snapshot(self, full: bool) -> Snapshot | None:
        """Files on the container's disk from which, with those since the last full one, it can be restored.

        `full`: from these alone. None: nothing is new since the last snapshot. After a snapshot that could
        not be kept, a full one is asked for. Raises StackError.
        """


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=ASK_SECONDS) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status < 400)
    except (OSError, http.client.HTTPException):
        return False


def ask(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> str:
    """POST `body` and return the answer's text. Raises OSError, with the answer's text when there is one."""
    request = urllib.request.Request(url, data=body, headers=dict(headers))  # noqa: S310 - our own loopback URL
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return str(answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        raise OSError(error.read().decode(errors="replace").strip()[:600]) from error

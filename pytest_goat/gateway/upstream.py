"""What stands behind the proxy: something that answers chat completions, and the words for its answers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from pytest_goat.gateway.base import TrialKey, Usage
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.request import ModelRequest


class UpstreamBroken(Exception):
    """No whole HTTP answer came. `str(error)` says why, in words for people."""

    def __init__(self, ending: Ending, message: str) -> None:
        self.ending = ending
        super().__init__(message)


def _as_said(usage: Usage) -> Usage:
    return usage


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer whose body is still on its way."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: AsyncGenerator[bytes, None]
    """Raises `UpstreamBroken` when it breaks off."""
    price: Callable[[Usage], Usage] = _as_said
    """Adds the cost where the answer says none."""


class Upstream(Protocol):
    """A provider, or what stands in for one. One per process; answers many calls at once."""

    @property
    def name(self) -> str:
        """`replay` or `direct`."""

    @property
    def secrets(self) -> Sequence[str]:
        """What must never be seen in a sandbox or a record."""

    async def start(self) -> None:
        """Get ready; called on the loop that serves."""

    def quota(self, model: str) -> str:
        """Names the rate limit that calls of `model` use up, the same in every process; "" for none."""

    def handover(self) -> dict[str, str]:
        """As `Gateway.handover`."""

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        """As `Gateway.preflight`."""

    def answer(self, request: ModelRequest) -> AbstractAsyncContextManager[Answer]:
        """Ask. Entering raises `UpstreamBroken` when no answer comes; leaving gives the connection back."""

    async def stop(self) -> None:
        """Close every connection."""


def error_body(message: str, kind: str, code: str) -> dict[str, Any]:
    """An error in the shape that OpenAI-compatible clients read."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def json_answer(status: int, content: Mapping[str, Any]) -> Answer:
    """An answer that is one JSON document."""
    return Answer(status, {"content-type": "application/json"}, _each([json.dumps(content).encode()]))


def event_answer(events: Iterable[Mapping[str, Any]]) -> Answer:
    """An answer that is a stream of server-sent events, closed by `[DONE]`."""
    lines = [b"data: %s\n\n" % json.dumps(event).encode() for event in events]
    return Answer(200, {"content-type": "text/event-stream"}, _each([*lines, b"data: [DONE]\n\n"]))


async def _each(parts: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part

"""One question to a model from the harness itself: what the judge check asks with."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

from pytest_goat.errors import Cause, GatewayError
from pytest_goat.gateway.base import ModelCall
from pytest_goat.gateway.exchange import Collector, Sink

Call = Callable[[bytes, Sink], Awaitable[ModelCall]]
"""Carries one request, as the proxy does for an agent."""

_PASSING = {
    Cause.UNREACHABLE,
    Cause.RATE_LIMITED,
    Cause.PROVIDER_ERROR,
    Cause.STREAM_CUT,
    Cause.MODEL_TIMEOUT,
}
"""What a second try may mend."""

PAUSES = (1.0, 4.0)
"""Seconds before the second and the third try; up to half as much again is added by chance."""


async def ask(call: Call, model: str, prompt: str) -> str:
    """The text with which `model` answers `prompt`; "" when it gave none.

    Here the harness is the client, so it is here that a failed call is tried again, once after each of
    `PAUSES`. Raises `GatewayError` with the cause of the last try.
    """
    raw = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]}).encode()
    for pause in (*PAUSES, None):
        answer = Collector()
        ended = await call(raw, answer)
        if ended.cause is None:
            break
        if pause is None or ended.cause not in _PASSING:
            raise GatewayError(ended.cause, ended.message)
        await asyncio.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  (spreads load, guards nothing)
    return _text(bytes(answer.data))


def _text(data: bytes) -> str:
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        message = "the judge's answer is no chat completion"
        raise GatewayError(Cause.PROVIDER_ERROR, message) from error
    return content if isinstance(content, str) else ""

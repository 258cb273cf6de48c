"""One cheap call before a run, which finds out what would fail in every trial."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import math
import re
import time
from typing import TYPE_CHECKING

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import ModelCall, TrialKey
from pytest_goat.gateway.exchange import Collector, Exchange
from pytest_goat.gateway.record import CallRecord
from pytest_goat.gateway.upstream import Upstream, UpstreamBroken
from pytest_goat.redact import Redactor

if TYPE_CHECKING:
    from pytest_goat.gateway.direct import DirectUpstream

DEADLINE = 15.0
"""Seconds for all of it."""

_ROOM = 64
"""Tokens that the answer may take."""

_LISTED = 10

_TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Writes a note down.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}

_SILENT = "no answer within {deadline:g} s. If it is still starting, wait until {address}/models answers."
TOOLS_MEND = (
    "An agent needs tool calling: choose a model that has it. "
    "vLLM has it with --enable-auto-tool-choice --tool-call-parser NAME."
)
_MENDS: dict[Cause | None, str] = {
    Cause.UNREACHABLE: "Is the server running, and is --goat-api-url right?",
    Cause.PROVIDER_ERROR: "Look at the server's own log. Does --goat-api-url end in /v1?",
}
OTHER_MEND = "An agent's requests would end the same way."

_ABOUT_ROOM = re.compile(r"max_tokens|max_completion_tokens")
_ROOM_USED_UP = re.compile(r"could not finish", re.IGNORECASE)
_ABOUT_TOOLS = re.compile(r"\btools?\b|\btool_|function.?call", re.IGNORECASE)


async def check(upstream: DirectUpstream, model: str, deadline: float = DEADLINE) -> None:
    """Ask `model` for a word, as an agent would: streaming, with a tool on offer.

    A rate limit passes: the key and the name were right. So does a server that wants `max_tokens` under its
    other name. Raises `UserError` that says what is wrong and what to do, after `deadline` seconds at most.
    """
    problem = _SILENT.format(deadline=deadline, address=upstream.address)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline):
            problem = await _problem(upstream, model)
    if problem:
        raise UserError(f"Model '{model}' at {upstream.address}: {problem}")


async def first_call(upstream: Upstream, model: str) -> ModelCall:
    """How a small call ends that is made as an agent would: streaming, with a tool on offer.

    A server that wants `max_tokens` under its other name gets it.
    """
    call = await _try(upstream, model, "max_tokens")
    if call.cause is not None and _ABOUT_ROOM.search(call.message):
        call = await _try(upstream, model, "max_completion_tokens")
    return call


def is_served(call: ModelCall) -> bool:
    """Whether the first call shows that the key and the name are right: a rate limit does, too."""
    return call.cause in (None, Cause.RATE_LIMITED) or bool(_ROOM_USED_UP.search(call.message))


def is_about_tools(said: str, model: str) -> bool:
    """Whether an error is about tool calling, the name of the model aside."""
    return bool(_ABOUT_TOOLS.search(said.replace(model, "")))


async def _problem(upstream: DirectUpstream, model: str) -> str:
    call = await first_call(upstream, model)
    if is_served(call):
        return ""
    said = call.message.removeprefix(f"{upstream.address}: ").rstrip(".")
    if call.cause is Cause.AUTH:
        return f"{said}. {_about_key(upstream)}"
    if is_about_tools(said, model):
        return f"{said}. {TOOLS_MEND}"
    if call.cause is Cause.MODEL_NOT_FOUND:
        return f"{said}. {await _about_name(upstream, model)}"
    return f"{said}. {_MENDS.get(call.cause, OTHER_MEND)}"


async def _try(upstream: Upstream, model: str, room: str) -> ModelCall:
    request = {
        "model": model,
        "messages": [{"role": "user", "content": "Reply with the word OK."}],
        "tools": [_TOOL],
        "tool_choice": "auto",
        "stream": True,
        room: _ROOM,
    }
    redactor = Redactor(upstream.secrets)
    record = CallRecord(time.monotonic(), redactor)
    key = TrialKey(run_id="", trial_id="preflight", task_id="", model=model)
    exchange = Exchange(upstream, redactor, math.inf)
    await exchange.carry(json.dumps(request).encode(), key, "", record, Collector())
    return record.as_call()


def _about_key(upstream: DirectUpstream) -> str:
    if upstream.has_key:
        return f"It refuses the key: set {upstream.api_key_env} to one that is good there."
    return f"It wants a key: set {upstream.api_key_env}."


async def _about_name(upstream: DirectUpstream, model: str) -> str:
    names = await _models(upstream)
    if not names:
        return "Check the model's name. Does --goat-api-url end in /v1?"
    near = difflib.get_close_matches(model, names, n=_LISTED, cutoff=0.0)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"It offers: {', '.join(near)}{more}."


async def _models(upstream: DirectUpstream) -> list[str]:
    """The names of the models that the server offers; [] when it does not tell."""
    try:
        async with upstream.models() as answer:
            content = json.loads(b"".join([data async for data in answer.body]))
        return [model["id"] for model in content["data"] if isinstance(model["id"], str)]
    except (UpstreamBroken, ValueError, LookupError, TypeError):
        return []

"""What an answer tells of itself: read while it passes, as one JSON document or as server-sent events.

Wire: https://platform.openai.com/docs/api-reference/chat (completion and chunk objects, `stream_options`),
https://html.spec.whatwg.org/multipage/server-sent-events.html for events. What providers add is read where
it is known: `usage.cost` (LiteLLM, OpenRouter), `cache_read_input_tokens` (Anthropic by way of LiteLLM),
`prompt_cache_hit_tokens` (DeepSeek).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_goat.gateway.base import Usage
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.heard import Words
from pytest_goat.gateway.upstream import UpstreamBroken

MAX_PART = 32 * 1024 * 1024
"""Bytes of a JSON answer, or of one event."""

_EVENT_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as a provider words it."""

    message: str
    kinds: str = ""
    """Its type and code."""
    status: int = 0
    """The HTTP status that its code is; 0 when it is none."""


@dataclass(slots=True)
class Findings:
    """What is known of an answer, as far as it has come."""

    model: str = ""
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    error: ProviderError | None = None
    complete: bool = False
    """Nothing of worth is still to come."""
    done: bool = False
    """Nothing at all is: the stream said `[DONE]`."""
    tool_calls: set[tuple[int, str]] = field(default_factory=set)
    words: Words | None = None
    """What it says; None where nobody wants to record it."""

    def take(self, said: dict[str, Any], part: str) -> None:
        """Note what a completion (`part` "message") or a chunk of one ("delta") says."""
        model, usage = said.get("model"), said.get("usage")
        if isinstance(model, str) and model:
            self.model = model
        if isinstance(usage, dict):
            self.usage = read_usage(usage)
        for number, choice in enumerate(_dicts(said.get("choices"))):
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self.finish_reason = reason
                self.complete = True
            if self.words is not None:
                self.words.take(choice, part)
            content = choice.get(part)
            calls = content.get("tool_calls") if isinstance(content, dict) else None
            for position, call in enumerate(_dicts(calls)):
                # A later piece of a call repeats its index, and not its id.
                index = position if part == "message" else call.get("index", call.get("id"))
                if index is not None:
                    self.tool_calls.add((number, str(index)))


class Reader(Protocol):
    """Reads an answer that passes."""

    def feed(self, data: bytes) -> bytes:
        """What of it the agent is to get now. Raises `UpstreamBroken` when a part grows beyond `MAX_PART`."""

    def end(self) -> bytes:
        """The same for what is left when the answer has ended.

        When nothing then is `complete`, nor an error, the answer has broken off.
        """


class JsonReader:
    """Reads one JSON document; of a `status` beyond 2xx, an error in whatever form.

    It passes whole: an agent that holds its last byte finds the call in the record.
    """

    def __init__(self, found: Findings, status: int) -> None:
        self._found, self._failed = found, status >= 300
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._data += data
        _bound(self._data)
        return b""

    def end(self) -> bytes:
        text = self._data.decode(errors="replace")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = text
        if self._failed or _is_error(said):
            self._found.error = read_error(said)
        elif isinstance(said, dict) and isinstance(said.get("choices"), list):
            self._found.take(said, "message")
            self._found.complete = True
        elif not (said is text and text.lstrip().startswith("{")):
            self._found.error = ProviderError(f"the answer is no chat completion: {text[:200]!r}")
        return bytes(self._data)


class EventReader:
    """Reads server-sent events, and may hide the chunk that holds nothing but usage.

    They pass from the moment on at which the first one is whole: an error that an answer begins with is known
    before anything has passed.
    """

    def __init__(self, found: Findings, hide_usage: bool) -> None:
        self._found, self._hide_usage = found, hide_usage
        self._data = bytearray()
        self._held: bytes | None = b""
        """What came before the first event was whole; None once it is."""

    def feed(self, data: bytes) -> bytes:
        searched = max(0, len(self._data) - 3)
        self._data += data
        _bound(self._data)
        events = list(self._events(searched))
        shown = [event for event in events if self._read(event)]
        passing = b"".join(shown) if self._hide_usage else data
        if self._held is None:
            return passing
        self._held += passing
        return self._release() if events else b""

    def end(self) -> bytes:
        rest = bytes(self._data)
        shown = self._read(rest) and self._hide_usage
        return self._release() + (rest if shown else b"")

    def _release(self) -> bytes:
        held, self._held = self._held or b"", None
        return held

    def _events(self, searched: int) -> Iterator[bytes]:
        start = 0
        for end in _EVENT_END.finditer(self._data, searched):
            yield bytes(self._data[start : end.end()])
            start = end.end()
        del self._data[:start]

    def _read(self, event: bytes) -> bool:
        """Note what an event says; False when the agent is not to see it."""
        lines = event.splitlines()
        payload = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if payload == b"[DONE]":
            self._found.complete = self._found.done = True
            return True
        try:
            said = json.loads(payload)
        except (ValueError, RecursionError):
            return True
        if _is_error(said) or b"event: error" in lines:
            self._found.error = read_error(said)
        elif isinstance(said, dict):
            self._found.take(said, "delta")
            return not (self._hide_usage and said.get("usage") and said.get("choices") == [])
        return True


def _bound(data: bytearray) -> None:
    if len(data) > MAX_PART:
        raise UpstreamBroken(Ending.CUT, f"a part of the answer is larger than {MAX_PART // 2**20} MiB")


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_error(said: object) -> bool:
    return isinstance(said, dict) and (bool(said.get("error")) or said.get("object") == "error")


def read_error(said: object) -> ProviderError:
    """The error in a body: OpenAI's `{"error": {...}}`, one in a list, FastAPI's `detail`, or bare text."""
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, dict):
        said = said.get("error") or said.get("detail") or said
    if not isinstance(said, dict):
        return ProviderError(said if isinstance(said, str) else json.dumps(said))
    message = said.get("message")
    code = str(said.get("code") or "")
    kinds = " ".join(str(said[name]) for name in ("type", "code") if said.get(name))
    status = int(code) if re.fullmatch(r"[45]\d\d", code) else 0
    return ProviderError(message if isinstance(message, str) else json.dumps(said), kinds, status)


def read_usage(said: dict[str, Any]) -> Usage:
    """Tokens and money in a `usage` object."""
    prompt, completion = (
        details if isinstance(details, dict) else {}
        for details in (said.get("prompt_tokens_details"), said.get("completion_tokens_details"))
    )
    cached = (
        prompt.get("cached_tokens"),
        said.get("cache_read_input_tokens"),
        said.get("prompt_cache_hit_tokens"),
    )
    cost = read_cost(said.get("cost"))
    return Usage(
        _count(said.get("prompt_tokens")),
        next((_count(tokens) for tokens in cached if tokens), 0),
        _count(said.get("completion_tokens")),
        _count(completion.get("reasoning_tokens")),
        cost,
        "" if cost is None else "answer",
    )


def read_cost(said: object) -> float | None:
    """USD; None for what is no price."""
    try:
        cost = float(said) if isinstance(said, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return cost if math.isfinite(cost) and cost >= 0 else None


def _count(said: object) -> int:
    return max(0, int(said)) if isinstance(said, int | float) and math.isfinite(said) else 0

"""What a model answered, kept while it passes to the agent: what recordings are made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any

from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.gateway.fingerprint import fingerprint
from pytest_goat.gateway.recording import Asked, Take, ToolCall, Turn, take_of, usual_reason

if TYPE_CHECKING:
    from pytest_goat.gateway.answer import ProviderError
    from pytest_goat.gateway.request import ModelRequest

_OF_THE_MODEL = (Cause.CONTEXT_OVERFLOW, Cause.REFUSAL, Cause.MALFORMED_CALL)
"""Causes of a failed call that say something about the model; providers answer them with 400."""
_MAX_ERROR = 500
"""Characters kept of an error."""
MAX_KEPT = 16 * 1024 * 1024
"""Characters of one answer."""


class How(StrEnum):
    """How far an answer came."""

    WHOLE = "whole"
    FAILED = "failed"
    CUT = "cut"
    """The agent did not wait for its end."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, as the agent got it."""

    asked: Asked
    how: How
    turn: Turn
    workdir: str
    """The trial's workspace inside its sandbox."""
    problem: str = ""
    """Why a recording cannot hold it; "" when it can."""

    def to_json(self) -> dict[str, Any]:
        """As a gateway tells it; `from_json` reads the same from it."""
        from pytest_goat.gateway.recording_text import content_of  # with YAML, which is rarely needed here

        content = content_of(Take((dataclasses.replace(self.turn, asked=self.asked),)))
        return {**content, "how": self.how, "workdir": self.workdir, "problem": self.problem}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Heard:
        """Raises `TaskError`, `TypeError`, `ValueError` or `LookupError` when it is none."""
        (turn,) = take_of({"turns": content["turns"]}, "what the gateway tells").turns
        if turn.asked is None:
            raise ValueError("what was asked is not told")
        said = dataclasses.replace(turn, asked=None)
        return cls(turn.asked, How(content["how"]), said, str(content["workdir"]), str(content["problem"]))


class _Call:
    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []


class Words:
    """What an answer says, put together from its parts as clients do."""

    def __init__(self) -> None:
        self.problem = ""
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_Call] = []
        self._open: dict[object, _Call] = {}
        self._kept = 0

    def take(self, choice: dict[str, Any], part: str) -> None:
        """Note a choice of a completion (`part` "message"), or of a chunk of one ("delta")."""
        said = choice.get(part)
        if not isinstance(said, dict):
            return
        if choice.get("index", 0) not in (0, None):
            self.problem = "the agent asked for several answers at once"
            return
        if said.get("function_call"):
            self.problem = "the model called a function in the old way (`function_call`)"
        self._keep(self._text, _text(said.get("content")) or _text(said.get("refusal")))
        self._keep(self._reasoning, _text(said.get("reasoning_content") or said.get("reasoning")))
        calls = said.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._add({**call, "index": position} if part == "message" else call)

    def turn(self, call: ModelCall, how: How) -> Turn:
        """The answer as a recording holds it. Of one that was cut, the tools are left out."""
        text, reasoning = (_clean("".join(parts)) for parts in (self._text, self._reasoning))
        if how is How.CUT:
            return Turn(text, reasoning=reasoning, finish_reason="length")
        tools = tuple(_tool(call) for call in self._calls if call.name)
        reason = _clean(call.finish_reason) or usual_reason(tools)
        return Turn(text, tools, _tokens(call.usage), reason, reasoning=reasoning)

    def _keep(self, parts: list[str], text: str) -> None:
        self._kept += len(text)
        if self._kept > MAX_KEPT:
            self.problem = f"an answer has more than {MAX_KEPT} characters"
        elif text:
            parts.append(text)

    def _add(self, piece: dict[str, Any]) -> None:
        call, function = self._call(piece), piece.get("function")
        if not isinstance(function, dict):
            return
        call.id = str(piece.get("id") or call.id)
        call.name = str(function.get("name") or call.name)
        arguments = function.get("arguments") or ""
        self._keep(call.arguments, arguments if isinstance(arguments, str) else json.dumps(arguments))

    def _call(self, piece: dict[str, Any]) -> _Call:
        """The call that a piece belongs to: that of its index, or the last one where it has none.

        An index that comes back with another id is another call: some servers send 0 for all of them.
        """
        given = str(piece.get("id") or "")
        key = piece.get("index")
        if key is None:
            key = given or next(reversed(self._open), "")
        call = self._open.get(key)
        if call is None or (given and call.id and given != call.id):
            call = self._open[key] = _Call()
            self._calls.append(call)
        return call


def hear(request: ModelRequest, words: Words, error: ProviderError | None, call: ModelCall) -> Heard:
    """What was answered to `request`: `words`, or the `error`; `call` tells how it went."""
    how = How.CUT if call.hung_up else How.FAILED if call.cause else How.WHOLE
    turn = Turn(error=_error(error, call)) if how is How.FAILED else words.turn(call, how)
    asked = fingerprint(request.content)
    return Heard(asked, how, turn, request.workdir, words.problem)


def _error(error: ProviderError | None, call: ModelCall) -> tuple[int, str]:
    """Status and words that come to the same cause when they are replayed."""
    message, status = call.message, 0
    if error is not None:
        message = f"{error.message[:_MAX_ERROR]} ({error.kinds})".removesuffix(" ()")
        status = error.status
    statuses = (call.status, status, 400 if call.cause in _OF_THE_MODEL else 502)
    return next(status for status in statuses if 400 <= status <= 599), _clean(message)


def _tool(call: _Call) -> ToolCall:
    text = _clean("".join(call.arguments))
    try:
        arguments = json.loads(text or "{}", parse_constant=_no_constant, parse_float=_float)
        arguments = json.loads(_clean(json.dumps(arguments, ensure_ascii=False)))
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return ToolCall(_clean(call.name), raw=text)
    return ToolCall(_clean(call.name), arguments)


def _tokens(usage: Usage) -> Usage | None:
    """The tokens that were told; None where none were."""
    tokens = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
    return Usage(*tokens) if any(tokens) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _text(content: object) -> str:
    """Content is text, or with some providers a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _clean(text: str) -> str:
    """`text` as UTF-8 can hold it."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")

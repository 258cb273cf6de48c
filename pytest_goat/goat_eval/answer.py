"""What the model answered, read from one JSON object or from a stream of server-sent events."""

from __future__ import annotations

import json

from .errors import ModelError
from .http1 import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Call:
    """A tool call; `arguments` is the JSON text that the model wrote."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = ""

    def parsed(self) -> dict[str, Any] | None:
        """The arguments as an object; None when they are none. No text at all stands for {}."""
        try:
            value = json.loads(self.arguments or "{}")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


class Answer:
    """A whole answer. `usage` is as the provider sent it."""

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.refusal = ""
        self.calls: list[Call] = []
        self.finish = ""
        self.model = ""
        self.usage: dict[str, Any] = {}
        self.choices = 0
        """How often a choice was seen: 0 means that nothing was answered."""
        self._open: dict[object, Call] = {}

    def add(self, data: dict[str, Any]) -> None:
        """Add a chunk of a stream, or a whole completion. Raises `ModelError` when it is neither."""
        if data.get("error"):
            raise provider_error(data["error"])
        try:
            self._add(data)
        except (AttributeError, TypeError) as error:
            raise ModelError("provider_error", f"not a chat completion: {error}", retryable=True) from error

    def _add(self, data: dict[str, Any]) -> None:
        self.model = str(data.get("model") or self.model)
        self.usage = _mapping(data.get("usage")) or self.usage
        for choice in data.get("choices") or ():
            if choice.get("index", 0) == 0:
                self.choices += 1
                self.finish = str(choice.get("finish_reason") or self.finish)
                whole = isinstance(choice.get("message"), dict)
                self._add_delta(_mapping(choice.get("message" if whole else "delta")), whole)

    def _add_delta(self, delta: dict[str, Any], whole: bool) -> None:
        self.text += _text(delta.get("content"))
        self.reasoning += _text(delta.get("reasoning_content") or delta.get("reasoning"))
        self.refusal += _text(delta.get("refusal"))
        for position, part in enumerate(delta.get("tool_calls") or ()):
            call = self._call({**part, "index": position} if whole else part)
            function = _mapping(part.get("function"))
            call.id = str(part.get("id") or call.id)
            call.name = str(function.get("name") or call.name)
            arguments = function.get("arguments") or ""
            call.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _call(self, part: dict[str, Any]) -> Call:
        """The call that a delta belongs to: the one of its index, or the last one where it has none.

        An index that comes back with another id is another call: some servers send 0 for all of them.
        """
        given = str(part.get("id") or "")
        key = part.get("index")
        if key is None:
            key = given or next(reversed(self._open), "")
        call = self._open.get(key)
        if call is None or (given and call.id and given != call.id):
            call = self._open[key] = Call()
            self.calls.append(call)
        return call


def read(lines: Iterable[bytes], framed: bool) -> Answer:
    """The answer in the lines of a body: an event stream, or one JSON object whatever its content type says.

    Lines of a stream that say nothing, or are broken, are passed over. `framed`: the end of `lines` is known
    to be the end of the answer. Raises `ModelError`, and what `lines` raises before the finish reason has
    come.
    """
    answer, other, ended = Answer(), b"", False
    try:
        for line in lines:
            if not line.startswith(b"data:"):
                other += line + b"\n"
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                ended = True
                break
            answer.add(_object(data))
    except HttpError:
        if not answer.finish:
            raise
    if not answer.choices:
        answer.add(_object(other))
        ended = True
    if not (framed or ended or answer.finish):
        raise ModelError("stream_cut", "the stream ended in the middle of the answer", retryable=True)
    if not answer.choices:
        raise ModelError("provider_error", f"not a chat completion: {other[:200]!r}", retryable=True)
    answer.calls = [call for call in answer.calls if call.name]
    return answer


def provider_error(error: Any) -> ModelError:
    """The error object that came in the place of an answer."""
    fields = error if isinstance(error, dict) else {"message": error}
    message = str(fields.get("message") or error)
    code = str(fields.get("code") or fields.get("type") or "")
    if is_overflow(message, code):
        return ModelError("context_overflow", message)
    permanent = code.startswith("4") and code not in ("408", "429")
    permanent = permanent or any(word in code for word in ("invalid", "auth", "not_found", "permission"))
    return ModelError("provider_error", message, retryable=not permanent)


def is_overflow(message: str, code: str = "") -> bool:
    """Whether an error says that the conversation is too long for the model, in the words of any provider."""
    words = (message + " " + code).lower()
    return any(
        sign in words
        for sign in (
            "context_length",
            "context length",
            "context window",
            "contextwindow",
            "maximum context",
            "prompt is too long",
            "too many tokens",
            "input is too long",
        )
    )


def _object(text: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(text))
    except ValueError:
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(content: Any) -> str:
    """Content is text, or with some providers a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")

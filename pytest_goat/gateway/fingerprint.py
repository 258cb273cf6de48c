"""What tells the requests of one trial from each other, and stays the same when it is run again.

A request is known by three things: how many answers of the assistant it holds; how its conversation opens
(tools, the first words of the system prompt, the first message of the user); and its last message. Of both
texts a short hash is kept, taken after everything was masked that changes from run to run: numbers, dates,
ids, absolute paths, and white space.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pytest_goat.gateway.recording import Asked

_SYSTEM = 200
"""Characters of the system prompt: first stands what it asks for, then what it says of the machine."""
_ENDS = 4000
"""Characters of a long text that count, at its beginning and at its end."""

_CHANGING = re.compile(
    r"""
    (?<![\w.])[~]?(?:/[\w.@+-]+)+/?                                     # absolute paths
    | \b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\b
    | \b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b
    | \b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}\b                       # ids: letters and digits
    | \b0x[0-9a-fA-F]+\b
    | \d+(?:[.,:]\d+)*
    """,
    re.VERBOSE,
)


def fingerprint(content: Mapping[str, Any]) -> Asked:
    """What tells this request, the JSON of a chat completion, from others of its trial."""
    messages = [message for message in _list(content.get("messages")) if isinstance(message, dict)]
    answers = sum(1 for message in messages if message.get("role") == "assistant")
    user = next((message for message in messages if message.get("role") == "user"), {})
    system = next((message for message in messages if message.get("role") in ("system", "developer")), {})
    opening = (
        *sorted(map(_tool_name, _list(content.get("tools")))),
        masked(_text(system))[:_SYSTEM],
        masked(_text(user)),
    )
    last = messages[-1] if messages else {}
    role = re.sub(r"\W", "", str(last.get("role", ""))) or "none"
    return Asked(answers, _digest("\0".join(opening)), f"{role}-{_digest(masked(_text(last)))}")


def masked(text: str) -> str:
    """`text` without what changes from run to run."""
    if len(text) > 2 * _ENDS:
        text = f"{text[:_ENDS]} {text[-_ENDS:]}"
    return " ".join(_CHANGING.sub("#", text).split())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]


def _text(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content may come in parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in _list(content) if isinstance(part, dict))


def _tool_name(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

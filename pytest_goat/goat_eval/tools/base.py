"""What a tool is, and how tools read their arguments."""

from __future__ import annotations

from ..errors import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Arguments = dict[str, Any]
    Run = Callable[[Arguments], str]


class Tool:
    """A tool as the model sees it, and `run`, which answers a call or raises `ToolError`.

    `compact` is the description for models that do better with little text.
    """

    def __init__(
        self, name: str, description: str, parameters: dict[str, Any], compact: str, run: Run
    ) -> None:
        self.name = name
        self.description = description
        self.parameters = parameters
        self.compact = compact
        self.run = run

    def spec(self, small: bool) -> dict[str, Any]:
        """The tool as an entry of the request's `tools`."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.compact if small else self.description,
                "parameters": self.parameters,
            },
        }


def schema(required: tuple[str, ...], **properties: tuple[str, str]) -> dict[str, Any]:
    """A JSON Schema of an object from `name=(type, description)`."""
    return {
        "type": "object",
        "properties": {
            name: {"type": kind, "description": text} for name, (kind, text) in properties.items()
        },
        "required": list(required),
    }


def required_text(arguments: Arguments, name: str, *, empty: bool = False) -> str:
    """A text argument that must be there. `empty`: "" will do."""
    value = arguments.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise ToolError(f"{name} is required")
    return value


def optional_text(arguments: Arguments, name: str) -> str:
    """A text argument, "" when it is missing or no text."""
    value = arguments.get(name)
    return value if isinstance(value, str) else ""


def number(arguments: Arguments, *names: str) -> int:
    """The first of these arguments that is a positive number, as a whole one; 0 when none is."""
    for name in names:
        value = arguments.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1:
            return int(min(value, 2**53))
    return 0


def flag(arguments: Arguments, *names: str, default: bool = False) -> bool:
    """The first of these arguments that is a boolean."""
    for name in names:
        value = arguments.get(name)
        if isinstance(value, bool):
            return value
    return default

"""What every reader gives: JSON's values, with mappings that know their lines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NoReturn

from pytest_goat.collect.problems import Inexact, Wrong

MAX_DEPTH = 50
"""Levels of lists and mappings in a prompt file: more is a mistake or an attack."""


class Table(dict[str, Any]):
    """A mapping of a prompt file. `line` is where it begins, `lines` where each key stands (1-based)."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int, items: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__(items)
        self.line = line
        self.lines: dict[str, int] = {}


class Unknown(dict[str, int]):
    """The `lines` of a mapping that was read the quick way: asking for one raises `Inexact`."""

    def __missing__(self, key: str) -> NoReturn:
        raise Inexact


class Bare(str):
    """Unquoted YAML text that some YAML readers take for a boolean, a date or a number in another base.

    It is never guessed at: fields refuse it and ask for quotes, metadata keeps the text.
    """

    __slots__ = ()


def plain(value: Any, depth: int = 1) -> Any:
    """A copy in JSON's own types. Raises `Wrong` for what JSON has no word for, or when it is too deep."""
    if isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise too_deep()
        if isinstance(value, dict):
            return {key: plain(item, depth + 1) for key, item in value.items()}
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(f"holds {value}, which JSON does not have", "write a finite number")
    return str(value) if isinstance(value, Bare) else value


def too_deep(line: int = 0) -> Wrong:
    """The problem with a value that has more than `MAX_DEPTH` levels."""
    return Wrong(f"is nested more than {MAX_DEPTH} levels deep", "flatten it", line)


def check_text(text: str, line: int) -> None:
    """Raise `Wrong` for text that no file can hold: escapes can spell half of a surrogate pair."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Wrong(
                "holds half of a surrogate pair", "write both halves, or the character", line
            ) from None


def given_twice(key: str, line: int, first: int) -> Wrong:
    """The problem with a key that the mapping has already, from line `first`."""
    return Wrong("is given twice", f"the first stands in line {first}: keep one of them", line).below(key, 0)


def describe(value: Any) -> str:
    """What a value is, in the words of an error message."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {_short(str(value))}"
    if isinstance(value, str):
        return f"the text {_short(value)!r}"
    return "a list" if isinstance(value, list) else "a mapping"


def _short(text: str, width: int = 40) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."

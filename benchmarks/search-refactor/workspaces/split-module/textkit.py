"""Text for people: words, days and tables."""

import re
from collections.abc import Callable, Iterable
from datetime import date

__all__ = [
    "FORMATS",
    "days_between",
    "format_as",
    "parse_day",
    "set_width",
    "shorten",
    "show_day",
    "slug",
    "table",
    "title",
    "width",
]

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
FORMATS: dict[str, Callable[[object], str]] = {}
"""Name -> function that makes a text of a value."""

_width = 72


def set_width(columns: int) -> None:
    """How wide a line may be from now on."""
    global _width
    if columns < 10:
        raise ValueError("a line has at least 10 columns")
    _width = columns


def width() -> int:
    return _width


def _formatter(name: str):
    def register(function):
        FORMATS[name] = function
        return function

    return register


def format_as(name: str, value: object) -> str:
    """`value` as the format called `name` shows it."""
    if name not in FORMATS:
        raise LookupError(f"no format {name}; there are {', '.join(sorted(FORMATS))}")
    return FORMATS[name](value)


@_formatter("slug")
def slug(text: str) -> str:
    """`text` for an address: small letters and digits, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


@_formatter("title")
def title(text: str) -> str:
    """`text` with a capital at the start of each long word."""
    return " ".join(word.capitalize() if len(word) > 3 else word for word in text.split())


@_formatter("short")
def shorten(text: str) -> str:
    """`text` cut at the width of a line, with an ellipsis where something is missing."""
    return text if len(text) <= _width else text[: _width - 3].rstrip() + "..."


@_formatter("day")
def show_day(day: date) -> str:
    """A day as "4 Mar 2031"."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def parse_day(text: str) -> date:
    """The day that `show_day` has shown."""
    day, month, year = text.split()
    return date(int(year), MONTHS.index(month) + 1, int(day))


def days_between(one: str, other: str) -> int:
    return abs((parse_day(one) - parse_day(other)).days)


def table(rows: Iterable[Iterable[object]]) -> str:
    """Rows as aligned columns; lines that are too wide are shortened, days are shown as days."""
    cells = [[show_day(cell) if isinstance(cell, date) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ("  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip() for row in cells)
    return "\n".join(shorten(line) for line in lines)

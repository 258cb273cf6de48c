"""Formats by name."""

from collections.abc import Callable

FORMATS: dict[str, Callable[[object], str]] = {}
"""Name -> function that makes a text of a value."""


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

"""Conditions on a text, the same for a file and for the agent's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_goat.checks.finding import CannotRun, Problem
from pytest_goat.checks.text import MAX_LINES, clean, diff, nearest, quote, shorten


def text_problems(
    what: str, text: str, contains: Sequence[str], matches: str | None, equals: str | None
) -> list[Problem]:
    """The conditions that do not hold of `text`, which `what` names. Raises `CannotRun` for a bad pattern."""
    problems = [
        Problem(f"{what} contains {quote(part)}", f"{what}: {nearest(part, text)}")
        for part in contains
        if part not in text
    ]
    if matches is not None and not _pattern(matches).search(text):
        problems.append(Problem(f"{what} matches {quote(matches)}", f"{what}: {_excerpt(text)}"))
    if equals is not None and not equal(text, equals):
        problems.append(Problem(f"{what} is {quote(equals)}", f"{what}: {_difference(equals, text)}"))
    return problems


def equal(one: str, other: str) -> bool:
    """Whether two texts are the same, but for a missing or extra newline at the end."""
    return one == other or f"{one}\n" == other or one == f"{other}\n"


def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CannotRun(f"{pattern!r} is no regular expression: {error}") from error


def _excerpt(text: str) -> str:
    if not text.strip():
        return "it is empty"
    lines = clean(shorten(text)).strip().splitlines()
    if len(lines) > MAX_LINES:
        left_out = f"[... {len(lines) - MAX_LINES} lines left out ...]"
        lines = [*lines[: MAX_LINES // 2], left_out, *lines[-MAX_LINES // 2 :]]
    return quote("\n".join(lines))


def _difference(expected: str, text: str) -> str:
    if "\n" in expected.strip("\n") or "\n" in text.strip("\n"):
        return diff(expected, text)
    return _excerpt(text)

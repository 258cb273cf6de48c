"""The JSON value in a text that a model wrote, which may talk round it."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
BRACKET = re.compile(r"[{\[]")
MAX_CHARS = 1024 * 1024
MAX_STARTS = 200
"""Brackets at which a value is looked for: each may cost a walk to the end of the text."""


class NoJson(ValueError):
    """There is no one JSON value in the text; `str(error)` is why."""


def find_json(text: str) -> Any:
    """The value of `text`: the whole of it, or the one fenced block that is JSON (one marked `json` before
    others), or the one object or array standing in it. Equal values count as one. Raises `NoJson`.
    """
    if len(text) > MAX_CHARS:
        raise NoJson(f"the text is too long ({len(text)} characters)")
    if not text.strip():
        raise NoJson("the text is empty")
    try:
        return parse(text)
    except ValueError as error:
        whole = error
    blocks = FENCE.findall(text)
    fenced = [body for language, body in blocks if language.lower() == "json"]
    found = _values(fenced) or _values([body for _, body in blocks]) or _standing(text)
    if not found:
        raise NoJson(f"no JSON in the text ({whole})")
    try:
        unlike = [value for value in found[1:] if not same(found[0], value)]
    except RecursionError:
        raise NoJson("the JSON in the text is nested too deeply") from None
    if unlike:
        raise NoJson(f"{len(found)} JSON values in the text: which is meant is not clear")
    return found[0]


def parse(text: str) -> Any:
    """Strict JSON: no NaN, no Infinity. Raises `ValueError`, for too deep a nesting too."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: `true` is not 1, 1 is 1.0, the order of keys makes no difference."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _values(texts: list[str]) -> list[Any]:
    values = []
    for text in texts:
        try:
            values.append(parse(text))
        except ValueError:
            continue
    return values


def _standing(text: str) -> list[Any]:
    """Objects and arrays in running text, outermost only."""
    values: list[Any] = []
    position = 0
    for _ in range(MAX_STARTS):
        start = BRACKET.search(text, position)
        if start is None:
            break
        position = start.start()
        try:
            value, position = _DECODER.raw_decode(text, position)
            values.append(value)
        except (ValueError, RecursionError):
            position += 1
    return values

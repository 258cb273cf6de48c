"""JSON text that no value can break."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

MAX_DEPTH = 100


def json_text(value: Any) -> str:
    """`value` as compact JSON that any strict UTF-8 reader takes. Never raises for what an agent can produce.

    NaN and infinities become null, lone surrogates U+FFFD, what JSON does not have its `str`, what is nested
    deeper than `MAX_DEPTH` (where the plain way gives up) null.
    """
    try:
        text = _dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = _dumps(_mended(value, MAX_DEPTH))
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _mended(value: Any, depth: int) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {str(key): _mended(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(item, depth - 1) for item in value]
    return str(value)

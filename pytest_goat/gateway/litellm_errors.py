"""Errors as LiteLLM words them, without what it adds to the provider's words: advice on its own settings, and
tracebacks with the paths of the machine on which it runs.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncGenerator

_ADDED = re.compile(
    r"\n\nLiteLLM: model group|\nmodel=\S+ \w+_fallbacks?=|\nTraceback \(most|\. Handle with `litellm\."
)
_EVENT = b'data: {"error"'


async def cut_error(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The body of an answer that is an error."""
    async with contextlib.aclosing(body):
        yield _cut(b"".join([part async for part in body]))


async def cut_events(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The body of an answer that may be a stream with an error in it. A line passes when it is whole."""
    rest = b""
    async with contextlib.aclosing(body):
        async for data in body:
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                yield b"".join(_cut_line(line) + b"\n" for line in lines)
    if rest:
        yield rest


def _cut_line(line: bytes) -> bytes:
    return b"data: " + _cut(line.removeprefix(b"data: ")) if line.startswith(_EVENT) else line


def _cut(said: bytes) -> bytes:
    try:
        content = json.loads(said)
        message = content["error"]["message"]
        content["error"]["message"] = _ADDED.split(message, maxsplit=1)[0]
    except (ValueError, LookupError, TypeError, RecursionError):
        return said
    return json.dumps(content).encode()

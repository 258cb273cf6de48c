"""What LiteLLM adds to errors is taken out of them, however they are cut into parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from pytest_goat.gateway.litellm_errors import cut_error, cut_events

SAID = "litellm.APIError: AzureException - The provider's words"
ADDED = [
    "\n\nLiteLLM: model group 'm' failed with the error above. No fallback was attempted.",
    "\nmodel=m. context_window_fallbacks=None. fallbacks=None.\n\nSet 'context_window_fallback' - https://x",
    "\nmodel=m. content_policy_fallback=None. fallbacks=None.",
    '\nTraceback (most recent call last):\n  File "/home/me/lib/x.py", line 1, in f\n    f()\nError: e\n',
    ". Handle with `litellm.InternalServerError`.\n\nLiteLLM: model group 'm' failed with the error above.",
]
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "the \\"error\\""}}]}\n\n'


async def parts_of(parts: Sequence[bytes]) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


Cut = Callable[[AsyncGenerator[bytes, None]], AsyncGenerator[bytes, None]]


def passed(cut: Cut, parts: Sequence[bytes]) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [part async for part in cut(parts_of(parts))]

    return asyncio.run(collect())


def error(added: str) -> bytes:
    return json.dumps({"error": {"message": SAID + added, "type": None, "code": "500"}}).encode()


def each_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("added", ["", *ADDED])
def test_an_error_keeps_the_providers_words(added: str) -> None:
    for parts in ([error(added)], each_byte(error(added))):
        assert b"".join(passed(cut_error, parts)) == error("")


@pytest.mark.parametrize("added", ["", *ADDED])
def test_an_error_in_a_stream_does_too(added: str) -> None:
    stream = CHUNK + b"data: " + error(added) + b"\n\n"
    for parts in ([stream], each_byte(stream)):
        assert b"".join(passed(cut_events, parts)) == CHUNK + b"data: " + error("") + b"\n\n"


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"error": "text"}', b'{"error": {"message": 5}}', b"[1]"])
def test_what_is_no_error_of_its_passes_as_it_is(data: bytes) -> None:
    assert b"".join(passed(cut_error, [data])) == data
    assert b"".join(passed(cut_events, [b"data: " + data])) == b"data: " + data


def test_what_came_whole_is_not_held_back() -> None:
    assert passed(cut_events, [CHUNK, CHUNK]) == [CHUNK, CHUNK]

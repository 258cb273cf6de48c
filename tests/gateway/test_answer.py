"""What is read from answers, however they are cut and whatever is in them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_goat.gateway import answer
from pytest_goat.gateway.answer import EventReader, Findings, JsonReader, read_error, read_usage
from pytest_goat.gateway.base import Usage
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.upstream import UpstreamBroken

USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 40,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 7},
    "cost": 0.0125,
}
USED = Usage(900, 100, 40, 7, 0.0125)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": "served", "choices": [choice], **more}).encode()


def piece(arguments: str, index: int, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}, **more}]}


EVENTS = [
    b": keep-alive",
    b'data: {"choices": [], "prompt_filter_results": []}',
    chunk({"role": "assistant", "content": "Zwölf"}),
    chunk(piece("", 0, id="call_a")),
    chunk(piece('{"a"', 0)),
    chunk(piece(": 1}", 0)),
    chunk(piece("{}", 1, id="call_b")),
    b"data: not json",
    chunk({}, "tool_calls"),
    b'data: {"choices": [], "usage": %s}' % json.dumps(USAGE).encode(),
    b"data: [DONE]",
]
STREAM = b"".join(event + b"\n\n" for event in EVENTS)
WITHOUT_USAGE = b"".join(event + b"\n\n" for event in EVENTS if b'"usage"' not in event)


def feed(reader: EventReader, parts: Sequence[bytes]) -> bytes:
    return b"".join([*(reader.feed(part) for part in parts), reader.end()])


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans(), st.booleans())
@example(list(range(len(STREAM))), True, False)
@example(list(range(len(STREAM))), True, True)
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], hide: bool, crlf: bool) -> None:
    found = Findings()
    end = b"\r\n" if crlf else b"\n"
    stream, without_usage = (text.replace(b"\n", end) for text in (STREAM, WITHOUT_USAGE))
    edges = [0, *sorted(cuts), len(stream)]
    parts = [stream[start:stop] for start, stop in itertools.pairwise(edges)]
    assert feed(EventReader(found, hide), parts) == (without_usage if hide else stream)
    assert (found.model, found.finish_reason, len(found.tool_calls)) == ("served", "tool_calls", 2)
    assert found.usage == USED
    assert found.complete
    assert found.error is None


def test_a_stream_may_end_without_done_and_without_an_empty_line() -> None:
    found = Findings()
    data = chunk({"content": "a"}) + b"\n\n" + chunk({}, "stop")
    assert feed(EventReader(found, hide_usage=True), [data]) == data
    assert found.complete


def test_usage_on_a_chunk_with_a_choice_is_shown() -> None:
    found = Findings()
    data = chunk({"content": "a"}, "stop", usage=USAGE) + b"\n\n"
    assert feed(EventReader(found, hide_usage=True), [data]) == data
    assert found.usage == USED


def test_a_stream_that_ends_early_is_not_complete() -> None:
    found = Findings()
    feed(EventReader(found, hide_usage=False), [chunk({"content": "a"}) + b"\n\n"])
    assert not found.complete
    assert found.error is None


@pytest.mark.parametrize(
    ("event", "status", "kinds", "message"),
    [
        (b'data: {"error": {"message": "slow", "type": "rate", "code": 429}}', 429, "rate 429", "slow"),
        (b'data: {"error": {"message": "oh", "type": "t", "code": "503"}}', 503, "t 503", "oh"),
        (b'data: {"error": {"message": "oh", "code": "overloaded"}}', 0, "overloaded", "oh"),
        (b'data: {"error": "oh"}', 0, "", "oh"),
        (b'data: {"object": "error", "message": "oh", "code": 400}', 400, "400", "oh"),
        (b'event: error\ndata: {"message": "oh"}', 0, "", "oh"),
    ],
)  # fmt: skip
def test_an_error_in_a_stream(event: bytes, status: int, kinds: str, message: str) -> None:
    found = Findings()
    feed(EventReader(found, hide_usage=False), [event + b"\n\n"])
    assert found.error is not None
    assert (found.error.status, found.error.kinds, found.error.message) == (status, kinds, message)


def read_json(body: bytes, status: int = 200) -> Findings:
    found = Findings()
    reader = JsonReader(found, status)
    shown = b"".join([reader.feed(body[:10]), reader.feed(body[10:]), reader.end()])
    assert shown == body
    return found


def test_a_json_answer() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "same"}, {"id": "same"}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    found = read_json(json.dumps({"model": "served", "choices": [choice], "usage": USAGE}).encode())
    assert (found.model, found.finish_reason, len(found.tool_calls)) == ("served", "tool_calls", 2)
    assert found.usage == USED
    assert found.complete


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", b'"text"', b"[]", b"{}", b"", b"null", b'{"choices": null}', b"1" * 6000]
)
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    found = read_json(body)
    assert found.error is not None
    assert "no chat completion" in found.error.message


def test_half_a_json_answer_is_neither_whole_nor_an_error() -> None:
    found = read_json(b'{"choices": [{"mess')
    assert found.error is None
    assert not found.complete


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ([{"error": {"message": "m", "code": 400}}], "m"),
        ({"detail": "m"}, "m"),
        ({"message": "m"}, "m"),
        ("m", "m"),
        ({"error": {"code": 1}}, '{"code": 1}'),
        ([], "[]"),
        (None, "null"),
    ],
)
def test_errors_in_every_form(said: object, message: str) -> None:
    assert read_error(said).message == message


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        (USAGE, USED),
        ({"prompt_tokens": 5, "cache_read_input_tokens": 3}, Usage(5, 3)),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 3}, Usage(5, 3)),
        ({"prompt_tokens": -5, "completion_tokens": "7", "cost": "free"}, Usage()),
        ({"prompt_tokens": 1e999, "completion_tokens": None, "cost": float("nan")}, Usage()),
        ({"prompt_tokens_details": [], "completion_tokens_details": 3, "cost": -1}, Usage()),
        ({"cost": "0.5"}, Usage(cost=0.5)),
    ],
)
def test_usage(said: dict[str, Any], usage: Usage) -> None:
    assert read_usage(said) == usage


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


MESSAGE = JSON | st.fixed_dictionaries(
    {"tool_calls": JSON | st.lists(st.dictionaries(st.just("index"), JSON))}
)
CHOICE = st.fixed_dictionaries({"finish_reason": JSON, "delta": MESSAGE, "message": MESSAGE})


@given(
    st.fixed_dictionaries({"model": JSON, "usage": JSON, "error": JSON, "choices": JSON | st.lists(CHOICE)})
)
def test_whatever_a_server_says_is_read(said: dict[str, Any]) -> None:
    data = json.dumps(said).encode()
    assert feed(EventReader(Findings(), hide_usage=False), [b"data: " + data + b"\n\n"])
    read_json(data)
    read_json(data, status=400)


def test_a_part_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_PART", 1000)
    reader = EventReader(Findings(), hide_usage=False)
    for _ in range(50):
        reader.feed(b"data: 1\n\n" * 10)
    with pytest.raises(UpstreamBroken) as caught:
        reader.feed(b"x" * 1001)
    assert caught.value.ending is Ending.CUT

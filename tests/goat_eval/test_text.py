"""Text that is safe to send."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.goat_eval.text import shorten, utf8

CUT = "bytes cut; ask for less] ..."


@given(text=st.text(min_size=1), limit=st.integers(12, 60))
def test_head_and_tail_are_cut_between_characters(text: str, limit: int) -> None:
    data = text.encode() * (1 + 2 * limit // len(text.encode()))
    head, note, tail = shorten(data, limit, "ask for less").partition("\n... [")
    assert note
    told, _, tail = tail.partition(f"{CUT}\n")
    assert data.startswith(head.encode())
    assert data.endswith(tail.encode())
    assert limit - 6 <= len(head.encode()) + len(tail.encode()) <= limit
    assert told == f"{len(data) - len(head.encode()) - len(tail.encode())} of {len(data)} "


@given(st.text())
def test_what_fits_stays(text: str) -> None:
    assert shorten(text.encode(), len(text.encode())) == text


@given(st.binary(max_size=200), st.integers(6, 50))
def test_any_bytes(data: bytes, limit: int) -> None:
    shorten(data, limit).encode()


@given(st.text())
def test_utf8_keeps_what_is_valid(text: str) -> None:
    assert utf8(text) == text


@given(st.text(st.characters(categories=["Cs", "L", "So"])))
def test_utf8_makes_the_rest_valid(text: str) -> None:
    assert utf8(text).encode().decode() == utf8(text)

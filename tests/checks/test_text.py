from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.checks.text import MAX_CHARS, MAX_LINES, clean, diff, nearest, one_line, shorten, tail


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b]never ended", "never ended"),
        ("a\tb\r\nc\x00\x07\x1b", "a\tb\nc"),
        ("\ud800", ""),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(text=st.text(alphabet=st.characters() | st.sampled_from("\x1b[]\x07\n")))
def test_what_is_clean_can_be_stored_and_shown(text: str) -> None:
    cleaned = clean(text)
    assert "\x1b" not in cleaned
    cleaned.encode()


@given(text=st.text(max_size=300), chars=st.integers(min_value=0, max_value=200))
def test_shortened_text_is_head_and_tail(text: str, chars: int) -> None:
    short = shorten(text, chars)
    if len(text) <= chars:
        assert short == text
    else:
        half = chars // 2
        assert short.startswith(text[:half])
        assert short.endswith(text[len(text) - half :])
        assert len(short) <= chars + 60


def test_tail_is_the_last_lines() -> None:
    assert tail("a\nb\n") == "a\nb"
    assert tail("\n".join(map(str, range(100)))).splitlines() == ["[...]", *map(str, range(60, 100))]
    assert len(tail("x" * 100_000)) == MAX_CHARS + len("[...]\n")


def test_one_line_is_cut() -> None:
    assert one_line("a  b\n c") == "a b c"
    assert one_line("x" * 1000) == "x" * 57 + "..."


def test_a_diff_is_of_the_first_difference() -> None:
    same = [f"line {n}\n" for n in range(1000)]
    expected = "".join([*same, "this\n", *same])
    seen = "".join([*same, "that\n", *same])
    lines = diff(expected, seen).splitlines()
    assert lines[:6] == [
        "from line 998, - expected, + seen:",
        " line 997",
        " line 998",
        " line 999",
        "-this",
        "+that",
    ]
    assert len(lines) <= MAX_LINES + 3


@pytest.mark.parametrize(
    ("expected", "seen", "shown"),
    [
        ("a\nb\n", "a\n", " a\n-b"),
        ("a\n", "a\nb\n", " a\n+b"),
        ("a\n\n\n", "a\n", " a\n-\n-"),
        ("a\nb", "a\r\nb", "the same lines, but for white space"),
    ],
)
def test_diffs_of_short_texts(expected: str, seen: str, shown: str) -> None:
    assert shown in diff(expected, seen)


def test_the_nearest_line_is_found_among_many() -> None:
    text = "".join(f"entry {n}\n" for n in range(100)) + "def reverse(text):\n"
    assert nearest("def reverse(s):", text) == "not in it; the nearest is line 101: def reverse(text):"

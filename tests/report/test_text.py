"""Figures as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.gateway.base import Usage
from pytest_goat.report.text import (
    clean,
    label,
    money,
    number,
    percent,
    seconds,
    shorten,
    spent,
    spent_in_words,
    table,
    tail,
)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (999_949, "999.9k"),
        (999_950, "1.0M"),
        (2_500_000_000, "2.5G"),
    ],
)
def test_numbers(amount: int, expected: str) -> None:
    assert number(amount) == expected


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (None, "-"),
        (0.0, "$0.00"),
        (0.00123, "$0.0012"),
        (0.5, "$0.5000"),
        (0.999, "$1.00"),
        (12.345, "$12.35"),
    ],
)
def test_money(cost: float | None, expected: str) -> None:
    assert money(cost) == expected


@pytest.mark.parametrize(
    ("usage", "short", "in_words"),
    [
        (Usage(cost=0.5), "$0.5000", "$0.5000"),
        (Usage(cost=0.5, unpriced=1), "$0.5000+", "$0.5000 + 1 call of unknown cost"),
        (Usage(cost=1.5, unpriced=2), "$1.50+", "$1.50 + 2 calls of unknown cost"),
        (Usage(unpriced=2), "-", "-"),
    ],
)
def test_what_is_not_known_of_the_cost_is_said(usage: Usage, short: str, in_words: str) -> None:
    assert (spent(usage), spent_in_words(usage)) == (short, in_words)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (192, "3m12s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
    ],
)
def test_seconds(duration: float, expected: str) -> None:
    assert seconds(duration) == expected


def test_percent_and_labels() -> None:
    assert [percent(None), percent(0.8333), percent(1)] == ["-", "83.3%", "100.0%"]
    assert [label("m", "baseline"), label("m", ""), label("m", "+skills"), label("m", "mcp")] == [
        "m",
        "m",
        "m+skills",
        "m+mcp",
    ]


def test_tail_says_what_it_leaves_out() -> None:
    assert tail("a\nb\nc\n", 2) == "[... 1 lines before ...]\nb\nc"
    assert tail("a\nb\n", 2) == "a\nb"
    assert tail("x" * 100, 2, chars=10) == f"[... cut ...]\n{'x' * 10}"


@given(st.text(st.characters()))
def test_clean_text_is_printable_and_encodable(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert "\x1b" not in cleaned
    assert clean(cleaned) == cleaned


@given(st.text("abc", max_size=60), st.integers(2, 40))
def test_shorten_keeps_the_end(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= width
    assert text.endswith(short.removeprefix("\u2026"))


def test_a_table_with_no_rows_is_its_head() -> None:
    assert table(("name", "n"), [], 80) == ["name n"]

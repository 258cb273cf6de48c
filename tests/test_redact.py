"""No form of a secret gets through, and nothing else is touched."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.redact import MARK, Redactor

SECRET = 'sk-"a/b\\c d?é+xyz'
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        "sk-%22a%2fb%5cc%20d%3f%c3%a9%2bxyz",
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps({"key": SECRET}),
    ],
)
def test_every_form_is_replaced(form: str) -> None:
    shown = Redactor([SECRET]).text(f"before {form} after")
    assert MARK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "xyz" not in shown


@given(secrets, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_at_every_alignment(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + after).decode()
        assert redactor.finds(encoded)
        assert MARK in redactor.text(encoded)


@given(st.lists(secrets, min_size=1, max_size=4), st.text(max_size=20))
def test_text_bytes_and_values_agree(several: list[str], other: str) -> None:
    redactor = Redactor(several)
    text = other + several[0] + other
    assert redactor.finds(text)
    shown = redactor.text(text)
    assert redactor.data(text.encode()).decode() == shown
    assert redactor.value({text: [text, 1, None, {"k": text}]}) == {shown: [shown, 1, None, {"k": shown}]}


def test_the_longest_goes_first() -> None:
    assert Redactor(["secret", "secret-and-more"]).text("secret-and-more, secret") == f"{MARK}, {MARK}"


def test_short_values_stay() -> None:
    assert Redactor(["", "short"]).text("short and sweet") == "short and sweet"


def test_numbers_stay_numbers() -> None:
    assert Redactor(["123456"]).value({"n": 123456, "s": "123456"}) == {"n": 123456, "s": MARK}


def test_what_is_nested_too_deep_to_look_at_is_withheld() -> None:
    value: object = "hunter22"
    for _ in range(5000):
        value = [value]
    assert "hunter22" not in json.dumps(Redactor(["hunter22"]).value(value))

"""JSON text that no value can break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.store.encode import json_text
from tests.support.results import json_values

hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=3)
    | st.builds(Path),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters()) | st.integers() | st.tuples(st.integers()), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text.encode(), parse_constant=refuse)


@given(json_values)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert strict(json_text(value)) == value


@given(hostile)
def test_any_value_gives_strict_json(value: Any) -> None:
    strict(json_text(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([float("nan"), float("inf"), 1.5], [None, None, 1.5]),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ({1: b"x", (2, 3): {4}}, {"1": "b'x'", "(2, 3)": [4]}),
    ],
)
def test_what_json_does_not_have_is_mended(value: Any, expected: Any) -> None:
    assert strict(json_text(value)) == expected


def test_any_depth_is_taken() -> None:
    value: Any = "bottom"
    for _ in range(5000):
        value = {"deeper": value}
    assert strict(json_text({"kept": 1, "deep": value}))["kept"] == 1

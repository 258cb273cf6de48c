"""JSON and JSON Lines: every error and every value has its line; what JSON does not have is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.collect.json_text import read_json, read_jsonl
from pytest_goat.collect.problems import Problems, Wrong


def read(text: str) -> Any:
    problems = Problems(Path("a.json"))
    value = read_json(text, problems)
    problems.check()
    return value


@pytest.mark.parametrize(
    "text",
    [
        "null",
        " [ ] ",
        "{}",
        '{"a": [1, -2.5e3, true, false, null, "x"], "b": {"c": {}}}',
        '["\\u00e9\\ud83d\\ude00", "ß", ",:]}", "\\"[{"]',
        "[[[[1], 2], 3], 4]",
        '\n\t{\r\n"a"\n:\n1\n}\n',
    ],
)
def test_values(text: str) -> None:
    assert read(text) == json.loads(text)


def test_mappings_know_their_lines() -> None:
    value = read('{"a":\n\n {"b": 1,\n"c": [2,\n3]},\n "d": "x\\ny",\n"e": {}}')
    assert (value.line, value.lines) == (1, {"a": 1, "d": 6, "e": 7})
    assert (value["a"].line, value["a"].lines) == (3, {"b": 3, "c": 4})
    assert value["e"].line == 7


@pytest.mark.parametrize(
    ("text", "line", "problem", "mend"),
    [
        ("", 1, "is not JSON: Expecting value", "the file ends too early"),
        ('{"a": 1,\n}', 2, "is not JSON", "no comma before a closing bracket"),
        ("[1,\n]", 2, "is not JSON", "no comma before a closing bracket"),
        ("{'a': 1}", 1, "is not JSON", "double quotes"),
        ('{"a": [1,\n2', 2, "is not JSON", "the file ends too early"),
        ('{"a": 1\n"b": 2}', 2, "is not JSON: Expecting ',' delimiter", "column 1"),
        ("// no\n{}", 1, "is not JSON", "column 1"),
        ('[1,\n"a\tb"]', 2, "is not JSON: Invalid control character", "column 3"),
        ("[1] [2]", 1, "is not JSON: Extra data", "column 5"),
        ("[1,\nNaN]", 2, "holds NaN", "finite"),
        ("[-Infinity]", 1, "holds -Infinity", "finite"),
        ('["x",\n"\\ud800"]', 2, "half of a surrogate pair", "both"),
        ('{"\\udfff": 1}', 1, "half of a surrogate pair", "both"),
        ("9" * 5000, 1, "a number of thousands of digits", "quotes"),
        ("\n" + "[" * 51 + "]" * 51, 2, "nested more than 50 levels", "flatten"),
        ("[" * 200_000, 1, "nested more than 50 levels", "flatten"),
    ],
)
def test_what_is_refused(text: str, line: int, problem: str, mend: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    (found,) = caught.value.problems
    assert problem in found.text
    assert mend in found.mend
    assert found.line == line


def test_keys_given_twice_are_all_told() -> None:
    problems = Problems(Path("a.json"))
    value = read_json('{"a": 1,\n"b": {"c": 1, "c": 2},\n"a": 3}', problems)
    assert value == {"a": 1, "b": {"c": 1}}
    assert [(error.line, error.field) for error in problems.errors] == [(2, "c"), (3, "a")]


def test_lines_that_are_wrong_do_not_hide_each_other() -> None:
    problems = Problems(Path("a.jsonl"))
    values = read_jsonl('{"a": "\u2028"}\n{"a": }\r\n\n  \n[1]\n{"a": 1', problems)
    assert values == [{"a": "\u2028"}, [1]]
    assert [error.line for error in problems.errors] == [2, 6]

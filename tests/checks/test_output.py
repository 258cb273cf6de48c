from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.checks.finding import CannotRun
from pytest_goat.checks.jsontext import NoJson, find_json, same
from pytest_goat.checks.output import check_output
from pytest_goat.task import OutputCheck

FENCED = 'Here it is:\n```json\n{"a": 1}\n```\nand not {"a": 2}.'


def json_is(value: object) -> OutputCheck:
    return OutputCheck(json_equals=value, has_json=True)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (OutputCheck(contains=("a", "b")), "b and a"),
        (OutputCheck(matches="(?i)done"), "All DONE."),
        (OutputCheck(equals="42"), "42\n"),
        (json_is({"a": 1}), '{"a": 1}'),
        (json_is({"a": 1}), FENCED),
        (json_is({"a": 1}), '```\n{"a": 1}\n```'),
        (json_is({"a": 1}), 'The answer is {"a": 1}, I think.'),
        (json_is({"a": 1}), 'First {"a": 1}; so again: {"a": 1.0}'),
        (json_is([1, {"b": None}]), 'I say [1, {"b": null}].'),
        (json_is({"a": 1, "b": 2}), '{"b": 2, "a": 1.0}'),
        (json_is(None), "null"),
        (OutputCheck(json_schema={"type": "object", "required": ["a"]}), FENCED),
    ],
)
def test_passes(check: OutputCheck, answer: str) -> None:
    assert check_output(check, answer).passed


@pytest.mark.parametrize(
    ("check", "answer", "expected", "seen"),
    [
        (
            OutputCheck(contains=("done",)),
            "I am don.",
            'the answer contains "done"',
            "the answer: not in it, nor a line like it (1 line)",
        ),
        (OutputCheck(matches="yes"), "no", 'the answer matches "yes"', 'the answer: "no"'),
        (OutputCheck(equals="42"), "43", 'the answer is "42"', 'the answer: "43"'),
        (OutputCheck(equals="42"), "", 'the answer is "42"', "the answer: it is empty"),
        (json_is(True), "1", "JSON true", "JSON 1"),
        (json_is({"a": 1}), "[]", 'JSON {"a": 1}', "JSON that differs from line 1"),
        (json_is({"a": 1}), "", 'a JSON value in the answer: {"a": 1}', "the text is empty"),
        (json_is(1), "NaN", "a JSON value in the answer: 1", "no JSON in the text"),
        (json_is(1), "well", "a JSON value in the answer: 1", 'the answer: "well"'),
        (
            json_is({"a": 1}),
            'Either {"a": 1} or {"a": 2}.',
            'a JSON value in the answer: {"a": 1}',
            "2 JSON values in the text: which is meant is not clear",
        ),
        (
            OutputCheck(json_schema={"properties": {"a": {"items": {"type": "string"}}}}),
            '{"a": ["x", 2]}',
            'JSON at $.a[1]: type "string"',
            "2 is not of type 'string'",
        ),
    ],
)
def test_tells_what_was_expected_and_seen(check: OutputCheck, answer: str, expected: str, seen: str) -> None:
    found = check_output(check, answer)
    assert not found.passed
    assert found.expected == expected
    assert seen in found.seen


def test_a_bad_schema_is_the_checks_fault() -> None:
    with pytest.raises(CannotRun, match="no JSON Schema"):
        check_output(OutputCheck(json_schema={"type": "objekt"}), "{}")


@pytest.mark.parametrize("depth", [400, 900, 100_000])
@pytest.mark.parametrize(
    "check", [json_is([]), OutputCheck(json_schema={"items": {"$ref": "#"}, "maxItems": 0})]
)
def test_deep_json_is_wrong_work_and_no_fault_of_ours(check: OutputCheck, depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert not check_output(check, text).passed
    assert not check_output(check, f"{text} and {text}").passed


def test_many_brackets_take_little_time() -> None:
    with pytest.raises(NoJson):
        find_json('{"a": [' * 20_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=json_values, other=json_values)
def test_sameness_is_that_of_json(value: object, other: object) -> None:
    assert same(value, value)
    if same(value, other):
        assert value == other


@given(value=st.dictionaries(st.text(), json_values, max_size=3), talk=st.text(alphabet="ab .\n"))
def test_json_is_found_in_talk(value: object, talk: str) -> None:
    assert same(find_json(f"{talk} {json.dumps(value)} {talk}"), value)
    assert same(find_json(f"{talk}\n```json\n{json.dumps(value, indent=2)}\n```\n{{}} {talk}"), value)


@given(text=st.text())
def test_any_text_is_a_value_or_none(text: str) -> None:
    with contextlib.suppress(NoJson):
        find_json(text)

"""`output`: conditions on the agent's final text."""

from __future__ import annotations

import json
from typing import Any

from pytest_goat.checks.conditions import text_problems
from pytest_goat.checks.finding import CannotRun, Finding, Problem, finding
from pytest_goat.checks.jsontext import NoJson, find_json, same
from pytest_goat.checks.text import diff, indent, quote, shorten
from pytest_goat.task import OutputCheck

WHAT = "the answer"
MAX_SCHEMA_ERRORS = 5


def check_output(check: OutputCheck, answer: str) -> Finding:
    """Judge `answer`. Raises `CannotRun` when a pattern or schema is none."""
    problems = text_problems(WHAT, answer, check.contains, check.matches, check.equals)
    if check.has_json or check.json_schema is not None:
        problems += _json_problems(check, answer)
    return finding(problems)


def _json_problems(check: OutputCheck, answer: str) -> list[Problem]:
    try:
        value = find_json(answer)
    except NoJson as error:
        wanted = _show(check.json_equals) if check.has_json else "one that satisfies the schema"
        seen = f"{error}; {WHAT}: {quote(shorten(answer, 1000))}"
        return [Problem(f"a JSON value in {WHAT}: {wanted}", seen)]
    problems = []
    if check.has_json and not same(check.json_equals, value):
        expected, seen = _pretty(check.json_equals), _pretty(value)
        problems.append(Problem(f"JSON {_show(check.json_equals)}", _json_difference(expected, seen)))
    if check.json_schema is not None:
        problems += _schema_problems(dict(check.json_schema), value)
    return problems


def _schema_problems(schema: dict[str, Any], value: Any) -> list[Problem]:
    import jsonschema  # here, for it is heavy and most runs need none

    validator_class = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        validator_class.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise CannotRun(f"the schema is no JSON Schema: {error.message}") from error
    try:
        errors = sorted(validator_class(schema).iter_errors(value), key=lambda error: error.json_path)
    except RecursionError:
        return [Problem("JSON that satisfies the schema", "JSON that is nested too deeply")]
    except Exception as error:  # a reference that leads nowhere has no public type in common
        raise CannotRun(f"the schema cannot be applied: {error}") from error
    return [
        Problem(f"JSON at {error.json_path}: {_rule(error)}", shorten(error.message, 500))
        for error in errors[:MAX_SCHEMA_ERRORS]
    ]


def _rule(error: Any) -> str:
    return shorten(f"{error.validator} {json.dumps(error.validator_value, default=str)}", 200)


def _json_difference(expected: str, seen: str) -> str:
    if "\n" in expected or "\n" in seen:
        return f"JSON that differs {diff(expected, seen)}"
    return f"JSON {seen}"


def _show(value: Any) -> str:
    short = json.dumps(value, ensure_ascii=False)
    return short if len(short) <= 60 else "\n" + indent(shorten(_pretty(value)))


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    except RecursionError:
        return "nested too deeply to be shown"

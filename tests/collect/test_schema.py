"""The JSON Schema says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pytest_goat.collect import json_schema, suite_schema
from pytest_goat.collect.fields import SUITE, TASK
from tests.collect.test_fields import WRONG_CHECKS, WRONG_VALUES
from tests.support.prompts import Prompts

TASKS = Draft202012Validator(json_schema())
BEYOND_SCHEMA = (
    "there is no ",
    "is a again",
    "as a file and as the folder",
    "wants a file to be absent",
    "regular expression",
    ".matches",
    "NUL character",
    "id: is the text 'a\\n'",
    "tags[0]: is the text 'a b'",
)
"""Rules that need the file system, or more than JSON Schema says in one line."""


@pytest.mark.parametrize("schema", [json_schema(), suite_schema()], ids=["tasks", "suite"])
def test_it_is_a_json_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_every_key_is_described() -> None:
    assert json_schema()["$defs"]["task"]["properties"].keys() == TASK.keys()
    assert suite_schema()["properties"].keys() == SUITE.keys()
    for field in (*TASK.values(), *SUITE.values()):
        assert field.doc.endswith((".", ")", "`"))


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "x"},
        [{"prompt": "x"}, {"prompt_file": "y", "own": 1}],
        {"tasks": [{"prompt": "x"}], "defaults": {"timeout": 1.5}},
        {"prompt": "x", "tags": "a, b", "solution": "true", "checks": [{"output": "x"}, {"file": "a/b.c"}]},
        {"prompt": "x", "files": {"a": "b", "c/d": {"from": "e"}}, "checks": [{"output": {"json": None}}]},
    ],
)
def test_it_takes_prompt_files(value: Any) -> None:
    assert [error.message for error in TASKS.iter_errors(value)] == []


@pytest.mark.parametrize(
    "value",
    [
        3,
        [],
        {},
        [{}],
        {"tasks": []},
        {"tasks": [{"prompt": "x"}], "more": 1},
        {"tasks": [{"prompt": "x"}], "defaults": {"id": "x"}},
        {"prompt": "x", "prompt_file": "y"},
    ],
)
def test_it_refuses_other_forms(value: Any) -> None:
    assert not TASKS.is_valid(value)


WRONG = [({key: value}, error) for key, value, error in WRONG_VALUES]
WRONG += [({"checks": [check]}, error) for check, error in WRONG_CHECKS]


@pytest.mark.parametrize(
    "keys", [keys for keys, error in WRONG if not any(sign in error for sign in BEYOND_SCHEMA)]
)
def test_it_refuses_what_the_reader_refuses(keys: dict[str, Any]) -> None:
    assert not TASKS.is_valid({"prompt": "x", **keys})


def test_a_prompt_file_that_the_reader_takes_may_name_it(tmp_path: Path) -> None:
    (task,) = Prompts(tmp_path).read(
        "a.yaml", "# yaml-language-server: $schema=goat.schema.json\nprompt: x\n"
    )
    assert task.id == "a"

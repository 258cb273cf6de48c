"""The JSON Schema of prompt files and of `goat.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from pytest_goat.collect.fields import SUITE, TASK, Defaults
from pytest_goat.collect.kinds import mapping_schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) of a prompt file: a task, a list of tasks, or `{defaults, tasks}`."""
    task = mapping_schema(TASK, others=True) | {
        "oneOf": [{"required": ["prompt"]}, {"required": ["prompt_file"]}]
    }
    tasks = {"type": "array", "items": {"$ref": "#/$defs/task"}, "minItems": 1}
    file = {
        "type": "object",
        "properties": {"defaults": Defaults().schema(), "tasks": tasks},
        "required": ["tasks"],
        "additionalProperties": False,
    }
    return {
        "$schema": DRAFT,
        "title": "pytest-goat prompt file",
        "$defs": {"task": task, "tasks": tasks, "file": file},
        "if": {"type": "array"},
        "then": {"$ref": "#/$defs/tasks"},
        "else": {
            "if": {"required": ["tasks"]},
            "then": {"$ref": "#/$defs/file"},
            "else": {"$ref": "#/$defs/task"},
        },
    }


def suite_schema() -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) of a `goat.yaml`."""
    return {"$schema": DRAFT, "title": "pytest-goat suite", **mapping_schema(SUITE)}

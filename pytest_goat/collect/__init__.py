"""Prompt files -> tasks. Knows nothing of pytest.

Names are imported when they are used: every pytest run with a JSON or Markdown file in it asks
`is_prompt_file`, and few of them go on to read tasks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_goat.collect.dump import dump_task
    from pytest_goat.collect.problems import FileErrors
    from pytest_goat.collect.schema import json_schema, suite_schema
    from pytest_goat.collect.suites import Suites, is_prompt_file
    from pytest_goat.collect.tasks import read_tasks

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".md")
"""Of files that may hold tasks."""

__all__ = [
    "SUFFIXES",
    "FileErrors",
    "Suites",
    "dump_task",
    "is_prompt_file",
    "json_schema",
    "read_tasks",
    "suite_schema",
]

_MODULES = {
    "FileErrors": "problems",
    "Suites": "suites",
    "dump_task": "dump",
    "is_prompt_file": "suites",
    "json_schema": "schema",
    "read_tasks": "tasks",
    "suite_schema": "schema",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

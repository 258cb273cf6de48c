"""Writes small suites for whole pytest runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Turns = list[dict[str, Any]]

WRITE_HELLO: Turns = [
    {
        "text": "I will write it.",
        "tools": [{"Write": {"file_path": "{workdir}/hello.txt", "content": "hello\n"}}],
    },
    {"text": "Done: hello.txt says hello."},
]
WRITE_WRONG: Turns = [
    {"tools": [{"Write": {"file_path": "{workdir}/hello.txt", "content": "good bye\n"}}]},
    {"text": "Done."},
]
HELLO_CHECKS: list[dict[str, Any]] = [
    {"file": "hello.txt", "contains": "hello"},
    {"run": "grep -q hello hello.txt"},
]


def hello_task(task_id: str, **more: Any) -> dict[str, Any]:
    """A task that `WRITE_HELLO` solves."""
    return {
        "id": task_id,
        "prompt": "Write hello.txt with the word hello.",
        "checks": HELLO_CHECKS,
        "solution": "echo hello > hello.txt",
        **more,
    }


def write_suite(
    folder: Path,
    tasks: Sequence[Mapping[str, Any]],
    recordings: Mapping[str, Turns] | None = None,
    **suite: Any,
) -> Path:
    """A suite with one prompt file a task, and the recordings by task id; returns its folder."""
    (folder / "replay").mkdir(parents=True, exist_ok=True)
    (folder / "goat.yaml").write_text(json.dumps(suite))
    for task in tasks:
        (folder / f"{task['id']}.yaml").write_text(yaml.safe_dump(dict(task), sort_keys=False))
    for task_id, turns in (recordings or {}).items():
        (folder / "replay" / f"{task_id}.yaml").write_text(yaml.safe_dump({"turns": turns}))
    return folder

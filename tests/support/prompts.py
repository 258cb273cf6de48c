"""Writes a prompt file, reads it, and says what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_goat.collect import FileErrors, read_tasks
from pytest_goat.task import Suite, Task


class Prompts:
    """A folder of prompt files, and the warnings that reading them gave."""

    def __init__(self, folder: Path, suite: Suite | None = None) -> None:
        self.folder = folder
        self.suite = suite
        self.warnings: list[tuple[int, str]] = []

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, name: str, content: str | bytes) -> list[Task]:
        path = self.write(name, content)
        return read_tasks(path, self.suite, lambda message, line: self.warnings.append((line, message)))

    def task(self, **keys: Any) -> Task:
        """The task with these keys and a prompt."""
        (task,) = self.read("task.json", json.dumps({"prompt": "Do it.", **keys}))
        return task

    def errors(self, name: str, content: str | bytes) -> list[str]:
        """What is wrong with a file, each problem as `line: field: problem | mend`."""
        with pytest.raises(FileErrors) as caught:
            self.read(name, content)
        path = str(self.folder / name)
        for error in caught.value.errors:
            assert error.path == path
            assert str(error).startswith(path)
        return [f"{e.line}: {e.field}: {e.problem} | {e.mend}" for e in caught.value.errors]

    def problem(self, **keys: Any) -> str:
        """The one problem of the task with these keys and a prompt."""
        (problem,) = self.errors("task.json", json.dumps({"prompt": "Do it.", **keys}))
        return problem


def render(suffix: str, tasks: Sequence[dict[str, Any]]) -> str:
    """Tasks as a file of the format; Markdown takes one only."""
    match suffix:
        case ".json":
            return json.dumps(tasks, indent=2)
        case ".jsonl":
            return "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
        case ".md":
            (task,) = tasks
            front = dict(task)
            prompt = front.pop("prompt")
            if prompt != prompt.strip():
                front["prompt"], prompt = prompt, ""
            return f"---\n{_yaml(front)}---\n{prompt}\n"
        case _:
            return _yaml(list(tasks))


def _yaml(value: Any) -> str:
    # Unicode as escapes: PyYAML writes some line breaks so that they are read as spaces.
    text: str = yaml.safe_dump(value, sort_keys=False)
    return text

"""Task -> the plain form that a prompt file holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_goat.task import (
    Check,
    FileCheck,
    FileSource,
    JudgeCheck,
    Limits,
    Machine,
    OutputCheck,
    RunCheck,
    Task,
)


def dump_task(task: Task) -> dict[str, Any]:
    """The task as YAML or JSON could hold it: JSON's types, with the keys of a prompt file.

    Read again in the same folder and suite it gives an equal task, but for its `source`. What is as the
    suite's defaults, or our own, have it is left out.
    """
    folder = task.source.path.parent
    given: dict[str, Any] = {key: getattr(task, key) for key in _BUILTIN if key not in _PARTS}
    given |= asdict(task.limits) | asdict(task.machine)
    inherited = {**_BUILTIN, **(task.suite.defaults if task.suite else {})}
    plain: dict[str, Any] = {"id": task.id, "prompt": task.prompt}
    for key, value in given.items():
        if value != inherited[key]:
            plain[key] = _plain(key, value, folder)
    return plain


_PARTS = asdict(Limits()) | asdict(Machine())
_BUILTIN: dict[str, Any] = {
    "description": "",
    "tags": (),
    "files": {},
    "workspace": None,
    **_PARTS,
    "checks": (),
    "threshold": 1.0,
    "solution": None,
    "metadata": {},
}


def _plain(key: str, value: Any, folder: Path) -> Any:
    match key:
        case "files":
            return _files(value, folder)
        case "workspace":
            return _relative(value, folder)
        case "checks":
            return [_check(check, folder) for check in value]
        case "solution":
            return _given(run=value.run, files=_files(value.files, folder))
        case "image" if isinstance(value, Path):
            return f"./{_relative(value, folder)}"
        case "tags":
            return list(value)
        case _:
            return value


def _check(check: Check, folder: Path) -> dict[str, Any]:
    every = {"name": check.name, "weight": check.weight}
    match check:
        case RunCheck():
            files = _files(check.files, folder)
            return {
                "run": check.run,
                **_given(files=files, timeout=check.timeout, trust=list(check.trust)),
                **every,
            }
        case FileCheck():
            absent = None if check.exists else True
            return {"file": check.file, **_conditions(check), **_given(absent=absent), **every}
        case OutputCheck():
            json = {"json": check.json_equals} if check.has_json else {}
            schema = {} if check.json_schema is None else {"schema": check.json_schema}
            return {"output": {**_conditions(check), **json, **schema}, **every}
        case JudgeCheck():
            return {"judge": check.rubric, "files": list(check.files), "min_score": check.min_score, **every}
        case _:
            raise TypeError(f"{type(check).__name__} is no kind of check")


def _conditions(check: FileCheck | OutputCheck) -> dict[str, Any]:
    equals = {} if check.equals is None else {"equals": check.equals}
    return {**_given(contains=list(check.contains), matches=check.matches), **equals}


def _given(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {key: value for key, value in values.items() if value}


def _files(files: Mapping[str, FileSource], folder: Path) -> dict[str, Any]:
    return {
        path: content if isinstance(content, str) else {"from": _relative(content, folder)}
        for path, content in files.items()
    }


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, os.path.realpath(folder))).as_posix()

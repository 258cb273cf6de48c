"""Reads what a pytest run left in its results folder and in JUnit files."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest


def the_run(folder: Path) -> Path:
    """The folder of the one run that was made in `folder`."""
    (run,) = (folder / ".goat/results").glob("*/trials")
    return run.parent


def all_trials(folder: Path) -> list[dict[str, Any]]:
    """The stored trials of the one run in `folder`."""
    return [json.loads(path.read_text()) for path in the_run(folder).glob("trials/*.json")]


def stored_trials(folder: Path) -> dict[str, dict[str, Any]]:
    """The same by task id."""
    return {trial["task_id"]: trial for trial in all_trials(folder)}


def junit_outcomes(path: Path) -> dict[str, str]:
    """Task id -> `failure`, `error`, `skipped` or `passed`, of the test cases in a JUnit file."""
    outcomes = {}
    for case in ET.parse(path).iter("testcase"):
        tags = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcomes[str(case.get("name")).partition("[")[0]] = tags[0] if tags else "passed"
    return outcomes


def assert_nowhere(secret: str, folder: Path, result: pytest.RunResult) -> None:
    """No file below `folder`, and nothing that was printed, has the secret in it."""
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files[Path("stdout")] = result.stdout.str().encode()
    files[Path("stderr")] = result.stderr.str().encode()
    forms = (secret.encode(), base64.b64encode(secret.encode()), quote(secret, safe="").encode())
    assert [path for path, data in files.items() if any(form in data for form in forms)] == []

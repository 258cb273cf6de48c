"""`file`: conditions on one file of the workspace.

Only a regular file counts as one: a link, FIFO or device at the path is not followed and is not the file,
whatever stands behind it. For `absent` anything at the path is in the way. Bytes that are not UTF-8 are read
as the replacement character.
"""

from __future__ import annotations

import posixpath

from pytest_goat.checks.conditions import text_problems
from pytest_goat.checks.finding import PASSED, Finding, Problem, finding
from pytest_goat.checks.text import decode
from pytest_goat.sandbox.base import Taken
from pytest_goat.task import FileCheck


def check_file(check: FileCheck, left: Taken) -> Finding:
    """Judge the file at `check.file` in `left`. Raises `CannotRun` when a condition is no condition."""
    path = posixpath.normpath(check.file)
    instead = _instead(path, left)
    if not check.exists:
        there = instead or (path in left.files and "it is there")
        return finding([Problem(f"no {path}", f"{path}: {there}")]) if there else PASSED
    if path not in left.files:
        return finding([Problem(f"a file {path}", f"{path}: {instead or _missing(path, left)}")])
    text = decode(left.files[path].data)
    return finding(text_problems(path, text, check.contains, check.matches, check.equals))


def _instead(path: str, left: Taken) -> str:
    """What stands at `path` that is no regular file; "" for nothing."""
    for refused in left.refused:
        name, _, why = refused.rpartition(": ")
        if name == path:
            return f"a {why}, which does not count as a file"
        if path.startswith(f"{name}/"):
            return f"{name} is a {why}, which is not followed"
    below = [other for other in (*left.files, *left.refused) if other.startswith(f"{path}/")]
    return "a folder" if below else ""


def _missing(path: str, left: Taken) -> str:
    if left.truncated:
        return "not among what could be looked at (the agent left too much, or the file is too large)"
    namesakes = [other for other in left.files if posixpath.basename(other) == posixpath.basename(path)]
    return f"not there (but {namesakes[0]} is)" if namesakes else "not there"

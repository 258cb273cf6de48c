"""The files of a task, read from the host when a trial needs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_goat.errors import Cause, InfraError
from pytest_goat.sandbox.base import File, Files
from pytest_goat.task import FileSource, Task

CACHES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"})
"""Folders that tools leave behind: nobody's work."""


def read_files(sources: Mapping[str, FileSource]) -> dict[str, File]:
    """The content of `sources`. Raises `InfraError` when a file of the host has gone."""
    return {path: _read(source) for path, source in sources.items()}


def read_workspace(task: Task) -> dict[str, File]:
    """The workspace that a task starts with: its folder, with its `files` laid over it.

    Caches left by the host's own tools are not part of it. Raises `InfraError` as above.
    """
    found: dict[str, File] = {}
    if task.workspace is not None:
        for folder, folders, names in os.walk(task.workspace):
            folders[:] = sorted(set(folders) - CACHES)
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    found[path.relative_to(task.workspace).as_posix()] = _read(path)
    return found | read_files(task.files)


def without_caches(files: Files) -> dict[str, File]:
    """`files` without what tools leave behind."""
    return {path: file for path, file in files.items() if CACHES.isdisjoint(path.split("/"))}


def _read(source: FileSource) -> File:
    if isinstance(source, str):
        return File(source.encode())
    try:
        return File(source.read_bytes(), bool(source.stat().st_mode & 0o100))
    except OSError as error:
        raise InfraError(Cause.INTERNAL, f"cannot read {source}: {error.strerror}") from error

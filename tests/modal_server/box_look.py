"""What a test may look for in a live box: what files hold, what processes are called and given."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LARGEST = 64 << 20
"""Bytes of a file; a larger one is passed over."""


def look(pid: int, paths: Sequence[str]) -> dict[str, Any]:
    """Of the box whose init is `pid`: `files`, path -> text, and `processes` with `argv` and `environ`.

    Files are all regular ones at and below `paths`, on the file system of each path: what of the host is seen
    below "/" is not among them.
    """
    root = Path(f"/proc/{pid}/root")
    files = {}
    for path in paths:
        for found in _regular(root / path.lstrip("/")):
            files[f"/{found.relative_to(root)}"] = found.read_bytes().decode(errors="replace")
    return {"files": files, "processes": list(_processes(root / "proc"))}


def _regular(start: Path) -> Iterator[Path]:
    try:
        top = start.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(top.st_mode):
        yield start
    for folder, folders, names in os.walk(start):
        folders[:] = [name for name in folders if (Path(folder) / name).lstat().st_dev == top.st_dev]
        for name in names:
            about = (Path(folder) / name).lstat()
            if stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST:
                yield Path(folder) / name


def _processes(proc: Path) -> Iterator[dict[str, Any]]:
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                yield {
                    "pid": int(entry.name),
                    "argv": _strings(entry / "cmdline"),
                    "environ": _strings(entry / "environ"),
                }
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended


def _strings(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")

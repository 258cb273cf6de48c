"""The environment with what `.env` adds: where keys and addresses are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_goat.errors import UserError

FILE = ".env"


def read_environ(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ`, over the values of the file `.env` in `folder` or above it.

    What is empty counts as not given. Nothing is exported: a program that is started gets what it needs, by
    name. Raises `UserError` when the file cannot be read.
    """
    values = {name: value for name, value in read_file(find_file(folder)).items() if value}
    return values | {name: value for name, value in environ.items() if value or name not in values}


def read_file(path: Path | None) -> dict[str, str]:
    """The values of a `.env` file; {} for None. Raises `UserError` when it cannot be read."""
    if path is None:
        return {}
    # Most runs have no such file and need not load what reads it.
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as stream:
            found = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return {name: value or "" for name, value in found.items()}


def find_file(folder: Path) -> Path | None:
    """The nearest `.env`, in `folder` or above it, but not above the repository that it is in."""
    for above in (folder, *folder.parents):
        if (above / FILE).is_file():
            return above / FILE
        if (above / ".git").exists():
            break
    return None

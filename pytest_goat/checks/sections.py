"""pytest's section of a file that other tools configure themselves in too: found, compared, exchanged."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from pytest_goat.sandbox.base import File

INI_HEADER = re.compile(r"\[")
INI_PYTEST = re.compile(r"\[\s*(?:tool:)?pytest\s*\]")
TOML_HEADER = re.compile(r"\s*\[")
TOML_PYTEST = re.compile(r"""\s*\[\s*(["']?)tool\1\s*\.\s*(["']?)pytest\2\s*[.\]]""")


def differs(path: str, before: File | None, after: File | None) -> bool:
    """Whether pytest would find another configuration in `after` than in `before`. None: there is no file."""
    mine, theirs = _text(after), _text(before)
    if not path.endswith(".toml"):
        return _ini_section(mine) != _ini_section(theirs)
    try:
        return bool(_pytest_table(mine) != _pytest_table(theirs))
    except ValueError:
        return mine != theirs


def exchanged(path: str, before: File | None, after: File) -> File | None:
    """`after` with pytest's section as it is in `before`; `before` itself where `after` cannot be parted."""
    header, ours = (TOML_HEADER, TOML_PYTEST) if path.endswith(".toml") else (INI_HEADER, INI_PYTEST)
    _, theirs = _parted(_text(before), header, ours)
    rest, _ = _parted(_text(after), header, ours)
    text = f"{rest.rstrip()}\n\n{theirs}" if theirs else rest
    joined = File(text.encode(errors="surrogateescape"), after.executable)
    # Lines are not TOML's grammar: a table can be written inline, and a header can stand in a string.
    return before if differs(path, before, joined) else joined


def _parted(text: str, header: re.Pattern[str], ours: re.Pattern[str]) -> tuple[str, str]:
    """The lines outside the sections that `ours` names, and those inside."""
    parts: tuple[list[str], list[str]] = ([], [])
    inside = False
    for line in text.splitlines(keepends=True):
        if header.match(line):
            inside = ours.match(line) is not None
        parts[inside].append(line)
    return "".join(parts[0]), "".join(parts[1])


def _ini_section(text: str) -> str:
    return _parted(text, INI_HEADER, INI_PYTEST)[1].strip()


def _pytest_table(text: str) -> Any:
    """Raises `ValueError` when `text` is no TOML."""
    try:
        tool = tomllib.loads(text).get("tool")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return tool.get("pytest") if isinstance(tool, dict) else None


def _text(file: File | None) -> str:
    return file.data.decode(errors="surrogateescape").removeprefix("\ufeff") if file else ""

"""Prompt file -> the values that it holds, whatever its format."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from pytest_goat.collect.problems import Problems, Wrong
from pytest_goat.collect.values import Table

FENCE = "---"
"""The line before and after the front matter of a Markdown file."""


def read_documents(path: Path, problems: Problems) -> list[Any]:
    """The documents of a prompt file: many in multi-document YAML, one in the other formats.

    JSON Lines are one list. A Markdown file is a mapping: its front matter, and its body as `prompt`.
    Raises `Wrong` where the file cannot be read at all.
    """
    text = read_text(path)
    match path.suffix:
        case ".json":
            from pytest_goat.collect.json_text import read_json

            return [read_json(text, problems)]
        case ".jsonl":
            from pytest_goat.collect.json_text import read_jsonl

            return [read_jsonl(text, problems)]
        case ".md":
            return [_markdown(text, problems)]
        case _:
            return _yaml(text, problems)


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises `Wrong` when it is not to be had."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Wrong(f"cannot be read: {error.strerror}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Wrong("is UTF-16 text", "save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Wrong("is not UTF-8 text", "save it as UTF-8", line) from None


def _yaml(text: str, problems: Problems) -> list[Any]:
    from pytest_goat.collect.yaml_text import read_yaml

    return read_yaml(text, problems)


def _markdown(text: str, problems: Problems) -> Table:
    lines = text.split("\n")
    if lines[0].rstrip() != FENCE:
        return _with_body(Table(1), text, 1)
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), 0)
    if not end:
        raise Wrong("has front matter that does not end", f"write a line {FENCE} after it", 1)
    # An empty line in place of the first fence keeps the numbers of the lines.
    documents = _yaml("\n".join(["", *lines[1:end]]), problems) or [Table(1)]
    if len(documents) > 1 or not isinstance(documents[0], Table):
        raise Wrong(
            "has front matter that is not one mapping", "write `key: value` lines: one file is one task", 2
        )
    return _with_body(documents[0], "\n".join(lines[end + 1 :]), end + 2)


def _with_body(task: Table, body: str, line: int) -> Table:
    prompt = body.strip()
    if not prompt:
        return task
    if "prompt" in task or "prompt_file" in task:
        raise Wrong("has a prompt in its front matter and one below", "keep one of them", line)
    task["prompt"] = prompt
    task.lines["prompt"] = line
    return task

"""The front matter of a SKILL.md: the part of YAML that skills use.

Keys at the left edge; their values are plain or quoted text, `|` and `>` blocks, `[a, b]` or `- a` lists.
Keys below a key are passed over.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    Value = Union[str, list[str]]


_ITEM = re.compile(r"""\s*('(?:[^']|'')*'|"(?:\\.|[^"\\])*"|[^,]*[^,\s])\s*(?:,|$)""")
"""An item of a list in brackets: quoted, or up to the next comma."""


def split(text: str) -> tuple[str, str] | None:
    """The front matter between two `---` lines and the body after it; None when there is none."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return None
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :])
    return None


def parse(text: str) -> dict[str, Value]:
    """The keys of a front matter. Raises `ValueError` with the line (from 1) and what is wrong in it."""
    values: dict[str, Value] = {}
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, colon, rest = line.partition(":")
        if line[0] in " \t-" or not colon or (rest and rest[0] not in " \t"):
            raise ValueError(f"line {position}: not a `key: value`: {line.strip()}")
        start = position
        while position < len(lines) and _belongs(lines[position]):
            position += 1
        try:
            values[key.strip().strip("\"'")] = _value(rest.strip(), lines[start:position])
        except ValueError as error:
            raise ValueError(f"line {start}: {error}") from error
    return values


def _belongs(line: str) -> bool:
    """Whether a line goes on with the value of the key before it."""
    return not line.strip() or line[0] in " \t]" or line.startswith("- ") or line.rstrip() == "-"


def _value(text: str, below: list[str]) -> Value:
    if text[:1] in ("|", ">"):
        return _block(text, below)
    items = [line.strip() for line in below if line.strip() and not line.strip().startswith("#")]
    if not _without_comment(text) and items:
        if all(item.startswith("-") for item in items):
            return [_scalar(item[1:].strip()) for item in items]
        if any(item.endswith(":") or ": " in item for item in items):
            return ""  # keys below a key: nothing that skills use
    if text.startswith("["):
        return _flow_list(" ".join([text, *items]))
    return _scalar(" ".join([text, *items]).strip())


def _flow_list(text: str) -> list[str]:
    inner = _without_comment(text)[1:]
    if not inner.endswith("]"):
        raise ValueError("the list has no `]`")
    return [_scalar(item) for item in _ITEM.findall(inner[:-1])]


def _scalar(text: str) -> str:
    if text[:1] == '"':
        end = text.rfind('"')
        if end == 0:
            raise ValueError("a quote is not closed")
        try:
            return str(json.loads(text[: end + 1]))
        except ValueError:
            return text[1:end]
    if text[:1] == "'":
        end = text.rfind("'")
        if end == 0:
            raise ValueError("a quote is not closed")
        return text[1:end].replace("''", "'")
    if ": " in text:
        raise ValueError("text with `: ` in it must be quoted")
    return _without_comment(text)


def _without_comment(text: str) -> str:
    return "" if text.startswith("#") else text.partition(" #")[0].rstrip()


def _block(style: str, below: list[str]) -> str:
    indents = [len(line) - len(line.lstrip()) for line in below if line.strip()]
    margin = min(indents, default=0)
    lines = [line[margin:].rstrip() for line in below]
    text = "\n".join(lines).strip("\n")
    if style.startswith(">"):
        paragraphs = text.split("\n\n")
        text = "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)
    return text

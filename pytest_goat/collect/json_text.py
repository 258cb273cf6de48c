"""JSON and JSON Lines -> values with lines.

`json.loads` decides what JSON is. A second walk over text that is then known to be valid builds the values
with their lines, and finds what `json` lets pass: keys given twice, NaN, halves of surrogate pairs.

The quick way (`Problems.quick`) leaves the tasks of a list to `json`'s decoder, one by one, and counts only
the line of each: four times as fast where thousands of tasks stand in one file.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_goat.collect.problems import Inexact, Problems, Wrong
from pytest_goat.collect.values import MAX_DEPTH, Table, Unknown, check_text, given_twice, too_deep

_BETWEEN = re.compile(r"[ \t\r\n,:]*")
_LIST = re.compile(r"[ \t\r\n]*\[[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_LIST_END = re.compile(r"[ \t\r\n]*\][ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD]")


def read_json(text: str, problems: Problems, first_line: int = 1) -> Any:
    """The value of `text`, whose first line is `first_line` of the file; keys given twice go into `problems`.

    Raises `Wrong`, with its line, where the text is not JSON that can be read here.
    """
    if problems.quick and (begin := _LIST.match(text)):
        return _quick_list(text, begin.end(), problems, first_line + text.count("\n", 0, begin.end()))
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise Wrong(f"is not JSON: {error.msg}", _mend(error), first_line + error.lineno - 1) from None
    except RecursionError:
        raise too_deep(first_line) from None
    except ValueError:  # the interpreter's own limit on the digits of an integer
        raise Wrong(
            "holds a number of thousands of digits", "write it as text, in quotes", first_line
        ) from None
    return _Walk(text, problems, first_line).value()


def read_jsonl(text: str, problems: Problems) -> list[Any]:
    """The values of all lines that are not blank. What is wrong with a line goes into `problems`."""
    values = []
    read = _quick_line if problems.quick else read_json
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values.append(read(line, problems, number))
            except Wrong as wrong:
                problems.add(wrong)
    return values


def _quick_list(text: str, at: int, problems: Problems, line: int) -> list[Any]:
    """The items of the list whose first one begins `at`, in `line`."""
    items = []
    while True:
        item, end = _quick_item(text, at, problems, line)
        items.append(item)
        if not (comma := _COMMA.match(text, end)):
            break
        line += text.count("\n", at, comma.end())
        at = comma.end()
    if not _LIST_END.fullmatch(text, end):
        raise Inexact
    return items


def _quick_line(text: str, problems: Problems, line: int) -> Any:
    text = text.strip(" \t\r")
    item, end = _quick_item(text, 0, problems, line)
    if end < len(text):
        raise Inexact
    return item


def _quick_item(text: str, at: int, problems: Problems, line: int) -> tuple[Any, int]:
    """The value that begins `at`, in `line`, and where it ends."""
    try:
        value, end = _QUICK.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise Inexact from None
    if type(value) is not Table:
        raise Inexact
    value.line = line
    # What may be too deep, or hold half of a pair, is looked at closely; most tasks are far from it.
    brackets = text.count("{", at, end) + text.count("[", at, end)
    if brackets >= MAX_DEPTH or _SURROGATE.search(text, at, end):
        value = _Walk(text, problems, line, at).value(depth=2)
    return value, end


def _quick_table(pairs: list[tuple[str, Any]]) -> Table:
    table = Table(0, pairs)
    if len(table) < len(pairs):
        raise Inexact
    table.lines = _UNKNOWN
    return table


def _quick_constant(name: str) -> Any:
    raise Inexact


_UNKNOWN = Unknown()
_QUICK = json.JSONDecoder(object_pairs_hook=_quick_table, parse_constant=_quick_constant)


class _Walk:
    """Goes once over valid JSON, from left to right."""

    def __init__(self, text: str, problems: Problems, line: int, at: int = 0) -> None:
        self._text = text
        self._problems = problems
        self._decode = json.JSONDecoder(parse_constant=self._constant).raw_decode
        self._at = at
        self._line = line
        self._line_at = at
        """Where in the text `_line` was last counted."""

    def value(self, depth: int = 1) -> Any:
        self._skip()
        begin = self._text[self._at]
        if begin not in "{[":
            return self._leaf()
        if depth > MAX_DEPTH:
            raise too_deep(self._here())
        self._at += 1
        return self._table(depth) if begin == "{" else self._list(depth)

    def _table(self, depth: int) -> Table:
        table = Table(self._here())
        lines = table.lines
        while self._skip() != "}":
            line = self._here()
            key = self._leaf()
            value = self.value(depth + 1)
            if key in lines:
                self._problems.add(given_twice(key, line, lines[key]))
            else:
                table[key] = value
                lines[key] = line
        self._at += 1
        return table

    def _list(self, depth: int) -> list[Any]:
        items = []
        while self._skip() != "]":
            items.append(self.value(depth + 1))
        self._at += 1
        return items

    def _leaf(self) -> Any:
        value, self._at = self._decode(self._text, self._at)
        if type(value) is str and not value.isascii():
            check_text(value, self._here())
        return value

    def _skip(self) -> str:
        """Go to what comes next, and say with which character it begins."""
        between = _BETWEEN.match(self._text, self._at)
        self._at = between.end() if between else self._at
        return self._text[self._at]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        return self._line

    def _constant(self, name: str) -> Any:
        raise Wrong(f"holds {name}, which JSON does not have", "write a finite number", self._here())


def _mend(error: json.JSONDecodeError) -> str:
    around = error.doc[error.pos : error.pos + 1]
    if around == "'":
        return "JSON quotes with double quotes"
    if around in ("}", "]") or "railing comma" in error.msg:
        return "JSON allows no comma before a closing bracket"
    if error.pos >= len(error.doc.rstrip()):
        return "the file ends too early: close what is open"
    return f"column {error.colno}: check it and what stands before it"

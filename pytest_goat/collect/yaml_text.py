"""YAML text -> values with lines.

The parser's events are built into values here rather than by PyYAML's constructors: twice as fast on ten
thousand tasks, and the place to refuse duplicate keys, alias bombs and tags.

Plain scalars are typed only where YAML 1.1 (https://yaml.org/type/) and the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema) agree; what 1.1 alone takes for something else than text
(`yes`, `1:30`, `2026-01-01`, `010`) becomes `Bare`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import yaml

from pytest_goat.collect.problems import Problems, Wrong
from pytest_goat.collect.values import MAX_DEPTH, Bare, Table, check_text, given_twice, too_deep

MAX_ALIAS_VALUES = 100_000
"""Values that the aliases of one file may stand for: a few lines can mean billions of them."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)")

_OPENED = ("while scanning a quoted scalar", "while scanning a simple key")
_MENDS = (
    (
        "mapping values are not allowed",
        "put text that holds ': ' in quotes, or write it on its own lines after |",
    ),
    ("could not find expected ':'", "write `key: value`, and indent the lines of a text below its key"),
    ("did not find expected key", "keys of one mapping stand in the same column"),
    ("did not find expected <document start>", "keys of one mapping stand in the same column"),
    (
        "did not find expected '-' indicator",
        "the items of one list stand in the same column, each after `- `",
    ),
    ("cannot start any token", "put text that begins with this character in quotes"),
    ("found unexpected end of stream", "close the quotes or brackets that were opened here"),
)


def read_yaml(text: str, problems: Problems) -> list[Any]:
    """The documents of `text`, empty ones left out; keys given twice go into `problems`.

    Raises `Wrong`, with its line, where the text is not YAML that can be read here.
    """
    try:
        return _Builder(_LOADER(text).get_event, problems).documents()
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Wrong("holds a control character", "write it as an escape in double quotes", line) from None
    except (ValueError, OverflowError):  # PyYAML's own scanner, in use where libyaml is not there
        raise Wrong("holds a number or an escape that is out of range", "write it in another way") from None


class _Builder:
    def __init__(self, next_event: Any, problems: Problems) -> None:
        self._next = next_event
        self._problems = problems
        self._anchors: dict[str, Any] = {}
        self._alias_values = 0

    def documents(self) -> list[Any]:
        found = []
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                found.append(self._value(self._next(), 1))
        return [value for value in found if value is not None]

    def _value(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._alias(event, depth)
        if kind is yaml.ScalarEvent:
            value = _plain(event.value) if event.implicit[0] else _quoted(event)
        elif depth > MAX_DEPTH:
            raise too_deep(_line(event))
        elif event.tag is not None:
            raise _tag(event)
        elif kind is yaml.MappingStartEvent:
            value = self._mapping(event, depth)
        else:
            value = self._sequence(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _mapping(self, start: Any, depth: int) -> Table:
        table = Table(_line(start))
        lines = table.lines
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(event)
            value = self._value(self._next(), depth + 1)
            if key in lines:
                self._problems.add(given_twice(key, _line(event), lines[key]))
            else:
                table[key] = value
                lines[key] = event.start_mark.line + 1
        return table

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._value(event, depth + 1))
        return items

    def _key(self, event: Any) -> str:
        if type(event) is not yaml.ScalarEvent:
            raise Wrong(
                "has a key that is not text",
                "write `key: value`; quote what begins with { [ * or &",
                _line(event),
            )
        key = _plain(event.value) if event.implicit[0] else _quoted(event)
        if type(key) is str:
            return key
        if key == "<<":
            raise Wrong("merge keys (<<) are not read", "use `defaults:` for what tasks share", _line(event))
        raise Wrong(
            f"has the key {event.value!r}, which is not text", f'quote it: "{event.value}":', _line(event)
        )

    def _alias(self, event: Any, depth: int) -> Any:
        if event.anchor not in self._anchors:
            raise Wrong(
                f"*{event.anchor} has no anchor before it",
                f"write &{event.anchor} where it is defined",
                _line(event),
            )
        value = self._anchors[event.anchor]
        self._count(value, depth, event)
        return value

    def _count(self, value: Any, depth: int, event: Any) -> None:
        self._alias_values += 1
        if self._alias_values > MAX_ALIAS_VALUES:
            raise Wrong(
                f"aliases stand for over {MAX_ALIAS_VALUES} values", "write the values out", _line(event)
            )
        if not isinstance(value, (dict, list)):
            return
        if depth > MAX_DEPTH:
            raise too_deep(_line(event))
        for item in value.values() if isinstance(value, dict) else value:
            self._count(item, depth + 1, event)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _quoted(event: Any) -> str:
    if event.tag not in _TEXT_TAGS:
        raise _tag(event)
    text: str = event.value
    check_text(text, _line(event))
    return text


def _tag(event: Any) -> Wrong:
    return Wrong(f"has the tag {event.tag}", "tags are not read: write the plain value", _line(event))


@lru_cache(maxsize=512)  # the keys of tasks come again and again
def _plain(text: str) -> Any:
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return _typed(text, tag.rpartition(":")[2])
    return text


def _typed(text: str, kind: str) -> Any:
    """The value of a plain scalar that YAML 1.1 resolves to `kind`, `Bare` where YAML 1.2 would not."""
    if kind == "null":
        return None
    if kind == "bool" and (low := text.lower()) in ("true", "false"):
        return low == "true"
    if kind == "int" and _DECIMAL.fullmatch(text):
        return int(text)
    if kind == "int" and _HEX.fullmatch(text):
        return int(text, 16)
    if kind == "float" and _FLOAT.fullmatch(text):
        return float(text)
    if kind == "float" and (special := _SPECIAL.fullmatch(text)):
        return float(special[1] + (special[2] or "nan"))
    return Bare(text)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Wrong:
    # What was not closed is told where it was opened, all else where it was met.
    opened = error.context_mark if error.context in _OPENED else None
    mark = opened or error.problem_mark
    line = mark.line + 1 if mark else 0
    problem = error.problem or str(error)
    if "maximum nesting depth" in problem:  # newer libyaml has a limit of its own, and reads ahead
        return too_deep(line)
    indent = re.match(r"\s*", _line_text(text, line))
    if indent and "\t" in indent[0]:
        return Wrong("is indented with a tab, which YAML does not allow", "indent with spaces", line)
    mend = next((mend for sign, mend in _MENDS if sign in problem), "check the line and the one above it")
    where = f" {error.context}" if error.context else ""
    return Wrong(f"is not YAML: {problem}{where}", mend, line)


def _line_text(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line - 1] if 0 < line <= len(lines) else ""

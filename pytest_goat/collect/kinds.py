"""Kinds of values: what a field takes, how it is read, and its JSON Schema. One definition for all three.

Each kind has two methods: `read(value, home)` gives the value that a record keeps, or raises `Wrong` with all
that is wrong with it. `schema()` is the same rule for editors.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_goat.collect.problems import Wrong, key_step, raise_all
from pytest_goat.collect.values import Bare, Table, describe, plain

Schema = dict[str, Any]

LARGEST = 1e9
"""Of any number: seconds, megabytes and turns beyond it are a slip."""


@dataclass(frozen=True, slots=True)
class Home:
    """The file that is read, and what its relative paths mean."""

    path: Path
    root: Path
    """What `from`, `workspace` and `prompt_file` may not leave: the suite's folder, or the file's own."""

    @property
    def folder(self) -> Path:
        return self.path.parent


class Kind(Protocol):
    """What a field takes."""

    def read(self, value: Any, home: Home) -> Any:
        """The value as a record keeps it. Raises `Wrong`."""

    def schema(self) -> Schema:
        """JSON Schema, Draft 2020-12."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a prompt file."""

    name: str
    kind: Kind
    doc: str
    """One line for people and editors."""


Fields = Mapping[str, Field]


def table(*fields: Field) -> Fields:
    """The fields of one mapping, by name."""
    return {field.name: field for field in fields}


def read_table(
    given: Table, fields: Fields, home: Home, what: str, others: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The values of the keys that are given, each as its field's kind reads it. Raises `Wrong`.

    Keys that are no field go into `others`, or are problems when that is None. `what` names the mapping in
    messages: "a check".
    """
    values = {}
    wrongs = []
    for key, value in given.items():
        try:
            if key in fields:
                field = fields[key]
                values[field.name] = field.kind.read(value, home)
            elif others is not None:
                others[key] = plain(value)
            else:
                raise Wrong(f"is no key of {what}", near_miss(key, fields))
        except Wrong as wrong:
            wrongs.append(wrong.below(key_step(key), given.lines[key]))
    raise_all(wrongs)
    return values


def read_items(values: list[Any], kind: Kind, home: Home) -> list[Any]:
    """The items of a list, each as `kind` reads it. Raises `Wrong`."""
    found = []
    wrongs = []
    for number, value in enumerate(values):
        try:
            found.append(kind.read(value, home))
        except Wrong as wrong:
            wrongs.append(wrong.below(f"[{number}]", line_of(value)))
    raise_all(wrongs)
    return found


def line_of(value: Any) -> int:
    """The line where a mapping begins; 0 for other values, which do not know."""
    return value.line if isinstance(value, Table) else 0


def slip(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, as a mend; "" when none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else ""


def near_miss(word: str, known: Iterable[str]) -> str:
    """A mend for a word that is not known: the one that was probably meant, or all there are."""
    return slip(word, known) or f"there are: {', '.join(known)}"


def mapping_schema(fields: Fields, *, others: bool = False) -> Schema:
    """A mapping with `fields`; `others`: further keys are allowed."""
    properties = {field.name: {"description": field.doc, **field.kind.schema()} for field in fields.values()}
    return {"type": "object", "properties": properties, "additionalProperties": others}


def want_table(value: Any, mend: str) -> Table:
    """`value` if it is a mapping; `mend` says what to write."""
    if not isinstance(value, Table):
        raise Wrong(f"is {describe(value)}, not a mapping", mend)
    return value


def want_list(value: Any, mend: str) -> list[Any]:
    """`value` if it is a list; `mend` says what to write."""
    if not isinstance(value, list):
        raise Wrong(f"is {describe(value)}, not a list", mend)
    return value


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is not empty; `empty`: any text at all."""

    empty: bool = False

    def read(self, value: Any, home: Home) -> str:
        if type(value) is not str:
            raise _not_text(value)
        if not self.empty and not value.strip():
            raise Wrong("is empty", "write some text, or leave the key out")
        if not self.empty and "\0" in value:
            raise Wrong("holds a NUL character", "leave it out")
        return value

    def schema(self) -> Schema:
        return {"type": "string"} if self.empty else {"type": "string", "pattern": r"\S"}


def _not_text(value: Any) -> Wrong:
    if isinstance(value, Bare):
        return Wrong(
            f"is a bare {value}, which some YAML readers do not take for text", f'put it in quotes: "{value}"'
        )
    if isinstance(value, (bool, int, float)):
        return Wrong(f"is {describe(value)}, not text", "put it in quotes")
    return Wrong(f"is {describe(value)}, not text", "write text")


@dataclass(frozen=True, slots=True)
class Word:
    """Text that a pattern describes."""

    pattern: re.Pattern[str]
    doc: str
    """What is allowed, for messages."""

    def read(self, value: Any, home: Home) -> str:
        if type(value) is not str:
            raise _not_text(value)
        if not self.pattern.fullmatch(value):
            raise Wrong(f"is {describe(value)}", self.doc)
        return value

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^(?:{self.pattern.pattern})$"}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`; `above`: `low` itself is too little; `whole`: an integer."""

    low: float = 0
    high: float = LARGEST
    above: bool = False
    whole: bool = False

    def read(self, value: Any, home: Home) -> float:
        if type(value) is float and self.whole and value.is_integer():
            value = int(value)
        if type(value) is not int and (type(value) is not float or self.whole):
            raise Wrong(f"is {describe(value)}, not a {'whole ' * self.whole}number", self._range())
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise Wrong(f"is {describe(value)}", self._range())
        return value

    def schema(self) -> Schema:
        least = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "integer" if self.whole else "number", least: self.low, "maximum": self.high}

    def _range(self) -> str:
        low = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        high = "" if self.high == LARGEST else f" to {self.high:g}"
        return f"write a {'whole ' * self.whole}number {low}{high}, without quotes"


@dataclass(frozen=True, slots=True)
class Yes:
    """`true`, and nothing else."""

    mend: str

    def read(self, value: Any, home: Home) -> bool:
        if value is not True:
            raise Wrong(f"is {describe(value)}", self.mend)
        return True

    def schema(self) -> Schema:
        return {"const": True}


@dataclass(frozen=True, slots=True)
class Many:
    """A list of values of one kind, or one of them by itself; read as a tuple without repeats.

    `commas`: text is taken apart at its commas; `some`: the list may not be empty.
    """

    kind: Kind
    commas: bool = False
    some: bool = False

    def read(self, value: Any, home: Home) -> tuple[Any, ...]:
        if self.commas and type(value) is str:
            value = [part for part in map(str.strip, value.split(",")) if part]
        if not isinstance(value, list):
            return (self.kind.read(value, home),)
        if self.some and not value:
            raise Wrong("is an empty list", "write at least one, or leave the key out")
        return tuple(dict.fromkeys(read_items(value, self.kind, home)))

    def schema(self) -> Schema:
        one = {"type": "string"} if self.commas else self.kind.schema()
        return {"anyOf": [one, {"type": "array", "items": self.kind.schema(), "minItems": int(self.some)}]}


class Regex:
    """A regular expression of Python's `re`."""

    def read(self, value: Any, home: Home) -> str:
        text = Text().read(value, home)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # `[[` and the like: a hint for programmers, not an error
                re.compile(text)
        except re.error as error:
            where = "" if error.pos is None else f" (character {error.pos + 1} of {describe(text)})"
            raise Wrong(
                f"is no regular expression: {error.msg}{where}",
                "a backslash before it means the character itself",
            ) from None
        except (RecursionError, OverflowError):
            raise Wrong("is too large a regular expression", "make it simpler") from None
        return text

    def schema(self) -> Schema:
        return {"type": "string", "format": "regex"}


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON value; `mapping`: an object."""

    mapping: bool = False

    def read(self, value: Any, home: Home) -> Any:
        if self.mapping:
            want_table(value, "write `key: value` pairs")
        return plain(value)

    def schema(self) -> Schema:
        return {"type": "object"} if self.mapping else {}


class JsonSchema:
    """A JSON Schema of Draft 2020-12."""

    def read(self, value: Any, home: Home) -> Any:
        from jsonschema import Draft202012Validator, SchemaError

        schema = plain(want_table(value, "write a JSON Schema, such as {type: object}"))
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            where = error.json_path.removeprefix("$").removeprefix(".")
            raise Wrong(f"is no JSON Schema: {f'{where}: ' if where else ''}{error.message}") from None
        except RecursionError:
            raise Wrong("is nested too deep for a JSON Schema", "flatten it") from None
        return schema

    def schema(self) -> Schema:
        return {"type": "object", "$ref": "https://json-schema.org/draft/2020-12/schema"}

"""The checks of a task: from a prompt file's `checks:` to their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_goat.collect.kinds import (
    Field,
    Fields,
    Home,
    Json,
    JsonSchema,
    Many,
    Number,
    Regex,
    Schema,
    Text,
    Yes,
    mapping_schema,
    read_items,
    read_table,
    slip,
    table,
    want_list,
    want_table,
)
from pytest_goat.collect.paths import Files, WorkPath
from pytest_goat.collect.problems import Wrong
from pytest_goat.task import Check, FileCheck, JudgeCheck, OutputCheck, RunCheck

MAX_NAME = 80
"""Characters of a name that is made from a check's content."""

_SHARE = Number(0, 1, above=True)
_CONDITIONS = (
    Field("contains", Many(Text(), some=True), "Text, or several, that must all be there."),
    Field("matches", Regex(), "Python regular expression that must be found."),
    Field(
        "equals", Text(empty=True), "The whole text; a newline more or less at the end makes no difference."
    ),
)
_EVERY = (
    Field("name", Text(), "What reports call the check; made from its content by default."),
    Field(
        "weight", Number(above=True), "Its share in the task's score, beside those of the others (default 1)."
    ),
)

RUN = table(
    Field("run", Text(), "Line for `bash -c` that must exit with 0, run after the agent has ended."),
    Field("files", Files(), "Hidden files, put into the workspace only for this check."),
    Field("timeout", Number(above=True), "Seconds it may take; the task's `check_timeout` by default."),
    Field("trust", Many(WorkPath()), "Test configuration or shadowing files that the agent may write here."),
    *_EVERY,
)
FILE = table(
    Field("file", WorkPath(), "File of the workspace that must be there."),
    *_CONDITIONS,
    Field(
        "exists",
        Yes("write `exists: true` or leave it out; for the contrary `absent: true`"),
        "It must be there: so it is by default.",
    ),
    Field("absent", Yes("write `absent: true` or leave it out"), "It must not be there."),
    *_EVERY,
)
CONDITIONS = table(
    *_CONDITIONS,
    Field("json", Json(), "JSON value that the text, or the one JSON value in it, must equal."),
    Field("schema", JsonSchema(), "JSON Schema (Draft 2020-12) that this value must satisfy."),
)


class Conditions:
    """Conditions on the agent's final text; text alone means `contains`."""

    def read(self, value: Any, home: Home) -> dict[str, Any]:
        if type(value) is str:
            return {"contains": (Text().read(value, home),)}
        given = want_table(
            value, "write {contains: ...}, {matches: ...}, {equals: ...}, {json: ...} or {schema: ...}"
        )
        if not given:
            raise Wrong("asks for nothing", "give it " + ", ".join(CONDITIONS))
        return read_table(given, CONDITIONS, home, "an output check")

    def schema(self) -> Schema:
        return {"anyOf": [Text().schema(), mapping_schema(CONDITIONS) | {"minProperties": 1}]}


OUTPUT = table(Field("output", Conditions(), "What the agent's final text must be like."), *_EVERY)
JUDGE = table(
    Field("judge", Text(), "Rubric that a model answers with a score from 0 to 1."),
    Field("files", Many(WorkPath()), "Workspace files that the judge is shown beside the final text."),
    Field("min_score", _SHARE, "The check passes from this score on (default 0.5)."),
    *_EVERY,
)
KINDS: dict[str, Fields] = {"run": RUN, "file": FILE, "output": OUTPUT, "judge": JUDGE}


class OneCheck:
    """A check of one of the `KINDS`."""

    def read(self, value: Any, home: Home) -> Check:
        given = want_table(value, "write {run: ...}, {file: ...}, {output: ...} or {judge: ...}")
        kinds = [kind for kind in KINDS if kind in given]
        if not kinds:
            meant = next(filter(None, (slip(key, KINDS) for key in given)), "")
            raise Wrong("is of no kind", meant or "give it one of run, file, output, judge")
        if len(kinds) > 1:
            raise Wrong(f"is of {len(kinds)} kinds: {', '.join(kinds)}", "make a check of each")
        (kind,) = kinds
        values = read_table(given, KINDS[kind], home, f"a {kind} check")
        values.setdefault("name", _name(kind, values))
        return _MAKERS[kind](values)

    def schema(self) -> Schema:
        return {"anyOf": [mapping_schema(fields) | {"required": [kind]} for kind, fields in KINDS.items()]}


class Checks:
    """A list of checks."""

    def read(self, value: Any, home: Home) -> tuple[Check, ...]:
        return tuple(read_items(want_list(value, "write one check after each `- `"), OneCheck(), home))

    def schema(self) -> Schema:
        return {"type": "array", "items": OneCheck().schema()}


def _name(kind: str, values: dict[str, Any]) -> str:
    subject = "answer" if kind == "output" else values[kind].strip().splitlines()[0]
    if kind == "judge":
        subject = f"judge: {subject}"
    conditions = values["output"] if kind == "output" else values
    words = [subject, *(_WORDS[key](conditions[key]) for key in _WORDS if key in conditions)]
    name = " ".join(words)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "..."


_WORDS: dict[str, Callable[[Any], str]] = {
    "contains": lambda value: f"contains {', '.join(map(repr, value))}",
    "matches": lambda value: f"matches {value!r}",
    "equals": lambda value: f"equals {value!r}",
    "absent": lambda _: "is absent",
    "json": lambda value: f"is {value!r} in JSON",
    "schema": lambda _: "satisfies its schema",
}


def _file(values: dict[str, Any]) -> FileCheck:
    absent = values.pop("absent", False)
    values.pop("exists", None)
    if absent and values.keys() & {"contains", "matches", "equals"}:
        raise Wrong(
            "wants a file to be absent and to have a content", "drop `absent`, or the other conditions"
        )
    return FileCheck(exists=not absent, **values)


def _output(values: dict[str, Any]) -> OutputCheck:
    conditions = values.pop("output")
    has_json = "json" in conditions
    expected, schema = conditions.pop("json", None), conditions.pop("schema", None)
    return OutputCheck(json_equals=expected, json_schema=schema, has_json=has_json, **conditions, **values)


def _judge(values: dict[str, Any]) -> JudgeCheck:
    return JudgeCheck(rubric=values.pop("judge"), **values)


_MAKERS: dict[str, Callable[[dict[str, Any]], Check]] = {
    "run": lambda values: RunCheck(**values),
    "file": _file,
    "output": _output,
    "judge": _judge,
}

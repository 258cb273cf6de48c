"""Recordings: the answers of a model to one task, authored or recorded. Read and checked here.

A recording is `<task-id>.yaml` (or `.json`, with the same content) in the folder `replay/` of a task's suite:

    turns:                                  # the answers, in order
      - text: I write it first.             # what the model says; optional
        tools:                              # the tools it calls; optional
          - Write: {file_path: "{workdir}/a.py", content: "print(1)"}
          - Bash: {command: python a.py}
        usage: {prompt_tokens: 900, completion_tokens: 40, cached_tokens: 0, reasoning_tokens: 0}
      - text: Done.
        finish_reason: stop                 # default: tool_calls where tools are called, else stop

    turns:
      - error: {status: 429, message: Too many requests}    # instead of all of the above

A turn has at least one of `text`, `reasoning`, `tools` and `error`. `{workdir}` in texts and in the tools'
arguments stands for the trial's workspace inside its sandbox. Without `usage` it is made up, see `replay`.
A tool whose arguments are no JSON object is `{name: Bash, arguments: "as the model wrote them"}`.

One that was recorded in several epochs has a take for each, and serves these epochs alone:

    recorded: {run: ..., model: ...}        # where it comes from, for people; optional
    takes:
      - epoch: 1
        turns: [...]
      - epoch: 2
        workdir: "<workdir>"                # stands for the workspace, as this model says {workdir} itself
        home: "{home}"                      # stands for the home folder of whoever replays it
        turns: [...]

`workdir` and `home` may stand beside the `turns` of a recording without takes, too.

Turn n answers the request that holds n-1 answers of the assistant. Where an agent asks beside its main
conversation, that does not tell which: then every turn of the take says what was `asked`, see `fingerprint`:

      - asked: {answers: 4, opening: 5f2a90c1, last: tool-8c1d4477}
        text: ...
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_goat.errors import TaskError
from pytest_goat.gateway.base import Usage

EVERY = 0
"""Stands for the epoch of a take that serves all of them."""

WORKDIR = "{workdir}"

_FILE_KEYS = ("turns", "takes", "workdir", "home", "recorded")
_TAKE_KEYS = ("epoch", "turns", "workdir", "home")
_ASKED_KEYS = ("answers", "opening", "last")
_TURN_KEYS = ("text", "reasoning", "tools", "usage", "finish_reason", "error", "asked")
USAGE_KEYS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
_EXAMPLE = "Write `turns:` with a list of turns, such as `- text: Done.`"

Where = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top of the file."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one tool; `arguments` are JSON values."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""
    """The arguments as the model wrote them, where they are no JSON object."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What tells one request of a trial from the others; made by `fingerprint`."""

    answers: int
    """Answers of the assistant that it holds."""
    opening: str
    """Of how its conversation begins."""
    last: str
    """Of its last message, which the answer is to."""

    @property
    def role(self) -> str:
        """Who wrote the last message."""
        return self.last.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: an `error` (HTTP status and message), or text and tool calls."""

    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    """None: to be made up."""
    finish_reason: str = "stop"
    error: tuple[int, str] | None = None
    reasoning: str = ""
    asked: Asked | None = None
    """None: its place among the turns tells which request it answers."""


@dataclass(frozen=True, slots=True)
class Take:
    """The answers of one trial."""

    turns: tuple[Turn, ...]
    workdir: str = WORKDIR
    """What stands for the workspace in it."""
    home: str = ""
    """What stands for the home folder of whoever replays it; "": nothing does."""


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """What a recording's file holds."""

    takes: Mapping[int, Take]
    """By epoch, or one alone for `EVERY` one."""
    recorded: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from."""

    def take(self, epoch: int) -> Take | None:
        """The one that serves an epoch."""
        return self.takes.get(EVERY) or self.takes.get(epoch)


class _Wrong(Exception):
    def __init__(self, where: Where, problem: str, mend: str = "") -> None:
        self.where, self.problem, self.mend = where, problem, mend
        super().__init__(problem)


def read_recording(path: Path) -> RecordingFile:
    """What is in a recording. Raises `TaskError` with line, field and mend when it is none."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        return _file(_parse(text, path))
    except OSError as error:
        raise TaskError(str(path), 0, "", error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise TaskError(str(path), 0, "", "is not UTF-8 text", "Save it as UTF-8.") from None
    except RecursionError:
        raise TaskError(str(path), 0, "", "is nested too deeply, or contains itself", _EXAMPLE) from None
    except _Wrong as wrong:
        line, what = _line(text, wrong.where), _field(wrong.where)
        raise TaskError(str(path), line, what, wrong.problem, wrong.mend) from None


def take_of(content: Any, source: str) -> Take:
    """The take with this content (`recording_text.content_of`). Raises `TaskError` that names `source`."""
    try:
        return _take(_mapping(content, (), _TAKE_KEYS, _EXAMPLE), ())
    except _Wrong as wrong:
        raise TaskError(source, 0, _field(wrong.where), wrong.problem, wrong.mend) from None


def _parse(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
            raise TaskError(str(path), line, "", f"is not JSON: {error}", _EXAMPLE) from None
    import yaml

    try:
        return yaml.load(text, Loader=loader())  # noqa: S506  (a safe loader, the C one where there is one)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise TaskError(str(path), line, "", f"is not YAML: {error.problem}", _EXAMPLE) from None
    except (yaml.YAMLError, ValueError) as error:
        raise TaskError(str(path), 0, "", f"is not YAML: {error}", _EXAMPLE) from None


def loader() -> Any:
    """The safe loader of YAML, the quick one where it is there."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _file(content: Any) -> RecordingFile:
    top = _mapping(content, (), _FILE_KEYS, _EXAMPLE)
    recorded = top.get("recorded", {})
    if not isinstance(recorded, dict):
        raise _Wrong(("recorded",), "must be a mapping", "Write it as `{model: gpt-5-mini}`.")
    told = {str(key): str(value) for key, value in recorded.items()}
    if "takes" not in top:
        return RecordingFile({EVERY: _take(top, ())}, told)
    if other := {"turns", "workdir", "home"} & top.keys():
        raise _Wrong((min(other),), "cannot stand beside `takes`", "Write it into each take.")
    return RecordingFile(_takes(top["takes"]), told)


def _takes(content: Any) -> dict[int, Take]:
    if not isinstance(content, list) or not content:
        raise _Wrong(("takes",), "must be a list of at least one take", "Begin each with `- epoch: 1`.")
    found: dict[int, Take] = {}
    for number, item in enumerate(content):
        where: Where = ("takes", number)
        take = _mapping(item, where, _TAKE_KEYS, "Write it as `epoch: 1` with its `turns:`.")
        epoch = _whole(take.get("epoch"), 1, (*where, "epoch"))
        if epoch in found:
            raise _Wrong((*where, "epoch"), f"{epoch} has a take already", "Give each epoch one take.")
        found[epoch] = _take(take, where)
    return found


def _take(content: Mapping[str, Any], where: Where) -> Take:
    turns = content.get("turns")
    if not isinstance(turns, list) or not turns:
        raise _Wrong((*where, "turns"), "must be a list of at least one turn", _EXAMPLE)
    read = tuple(_turn(turn, (*where, "turns", number)) for number, turn in enumerate(turns))
    for number, turn in enumerate(read):
        if (turn.asked is None) != (read[0].asked is None):
            mend = "Give every turn of a take `asked`, or none."
            raise _Wrong((*where, "turns", number), "differs from the first in having `asked`", mend)
    workdir = _text(content.get("workdir", WORKDIR), (*where, "workdir"))
    if not workdir:
        raise _Wrong((*where, "workdir"), "must not be empty")
    return Take(read, workdir, _text(content.get("home", ""), (*where, "home")))


def _turn(content: Any, where: Where) -> Turn:
    turn = _mapping(content, where, _TURN_KEYS, "Write it as `text: ...`, `tools: [...]` or both.")
    asked = _asked(turn["asked"], (*where, "asked")) if "asked" in turn else None
    if "error" in turn:
        if turn.keys() - {"error", "asked"}:
            raise _Wrong(where, "`error` stands alone in a turn", "Remove its other keys.")
        return Turn(error=_error(turn["error"], (*where, "error")), asked=asked)
    if not {"text", "reasoning", "tools"} & turn.keys():
        raise _Wrong(where, "says nothing", "Give it `text`, `tools` or `error`.")
    calls = turn.get("tools") or []
    if not isinstance(calls, list):
        raise _Wrong((*where, "tools"), "must be a list", "Write it as `- Bash: {command: ls}`.")
    tools = tuple(_tool(call, (*where, "tools", number)) for number, call in enumerate(calls))
    return Turn(
        text=_text(turn.get("text") or "", (*where, "text")),
        reasoning=_text(turn.get("reasoning") or "", (*where, "reasoning")),
        tools=tools,
        usage=_usage(turn["usage"], (*where, "usage")) if "usage" in turn else None,
        finish_reason=_text(turn.get("finish_reason", usual_reason(tools)), (*where, "finish_reason")),
        asked=asked,
    )


def usual_reason(tools: Sequence[ToolCall]) -> str:
    """The finish reason of a turn that gives none."""
    return "tool_calls" if tools else "stop"


def _asked(content: Any, where: Where) -> Asked:
    mend = "Write it as `{answers: 4, opening: 5f2a90c1, last: tool-8c1d4477}`."
    asked = _mapping(content, where, _ASKED_KEYS, mend)
    answers = _whole(asked.get("answers"), 0, (*where, "answers"))
    opening, last = (_text(asked.get(name), (*where, name)) for name in ("opening", "last"))
    return Asked(answers, opening, last)


def _tool(content: Any, where: Where) -> ToolCall:
    if isinstance(content, dict) and content.keys() == {"name", "arguments"}:
        name, raw = (_text(content[key], (*where, key)) for key in ("name", "arguments"))
        return ToolCall(name, raw=raw)
    if not isinstance(content, dict) or len(content) != 1:
        raise _Wrong(where, "must be one tool with its arguments", "Write it as `- Bash: {command: ls}`.")
    [(name, arguments)] = content.items()
    arguments = {} if arguments is None else arguments
    where = (*where, name)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise _Wrong(
            where, "must be a tool's name with a mapping of arguments", "Write `- Bash: {command: ls}`."
        )
    _check_json(arguments, where)
    return ToolCall(name, arguments)


def _check_json(value: Any, where: Where) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _Wrong((*where, key), "is no text, as a key must be", "Put it in quotes.")
            _check_json(item, (*where, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_json(item, (*where, number))
    elif not isinstance(value, str | int | float | None) or (
        isinstance(value, float) and not isfinite(value)
    ):
        raise _Wrong(where, f"{value!r:.60} is no JSON value", "Put it in quotes.")


def _usage(content: Any, where: Where) -> Usage:
    usage = _mapping(content, where, USAGE_KEYS, "Write it as `{prompt_tokens: 900, completion_tokens: 40}`.")
    tokens: dict[str, Any] = {name: _whole(count, 0, (*where, name)) for name, count in usage.items()}
    return Usage(**tokens)


def _error(content: Any, where: Where) -> tuple[int, str]:
    mend = "Write it as `{status: 429, message: Too many requests}`."
    error = _mapping(content, where, ("status", "message"), mend)
    status = error.get("status")
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise _Wrong((*where, "status"), "must be an HTTP status from 400 to 599", mend)
    return status, _text(error.get("message", ""), (*where, "message"))


def _mapping(content: Any, where: Where, known: Sequence[str], mend: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise _Wrong(where, "must be a mapping", mend)
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known here: {', '.join(known)}."
            raise _Wrong((*where, key), "is no key of a recording", hint)
    return content


def _whole(value: Any, least: int, where: Where) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _Wrong(where, f"must be a whole number, {least} or more")
    return value


def _text(value: Any, where: Where) -> str:
    if not isinstance(value, str):
        raise _Wrong(where, "must be text", "Put it in quotes.")
    return value


def _field(where: Where) -> str:
    """The way as people write it: `turns[0].tools[1].Bash`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return "".join(parts).lstrip(".")


def _line(text: str, where: Where) -> int:
    """The line of a value, or of the nearest thing around it (JSON is read as the YAML that it nearly is)."""
    import yaml

    try:
        node = yaml.compose(text, Loader=loader())
    except yaml.YAMLError:
        return 0
    line = 1
    for step in where:
        if (found := _child(node, step)) is None:
            break
        line, node = found
    return line


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    """The line and the node at `step` below `node`."""
    import yaml

    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line + 1, child
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, child
    return None

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

A turn has at least one of `text`, `tools` and `error`. `{workdir}` in `text` and in the tools' arguments
stands for the trial's workspace inside its sandbox. Without `usage` it is made up, see `replay`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_goat.errors import TaskError
from pytest_goat.gateway.base import Usage

_TURN_KEYS = ("text", "tools", "usage", "finish_reason", "error")
_USAGE_KEYS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
_EXAMPLE = "Write `turns:` with a list of turns, such as `- text: Done.`"

Where = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top of the file."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one tool; `arguments` are JSON values."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: an `error` (HTTP status and message), or text and tool calls."""

    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    """None: to be made up."""
    finish_reason: str = "stop"
    error: tuple[int, str] | None = None


class _Wrong(Exception):
    def __init__(self, where: Where, problem: str, mend: str = "") -> None:
        self.where, self.problem, self.mend = where, problem, mend
        super().__init__(problem)


def read_recording(path: Path) -> tuple[Turn, ...]:
    """The turns of a recording. Raises `TaskError` with line, field and mend when it is none."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        return _turns(_parse(text, path))
    except OSError as error:
        raise TaskError(str(path), 0, "", error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise TaskError(str(path), 0, "", "is not UTF-8 text", "Save it as UTF-8.") from None
    except RecursionError:
        raise TaskError(str(path), 0, "", "is nested too deeply, or contains itself", _EXAMPLE) from None
    except _Wrong as wrong:
        field = _field(wrong.where)
        raise TaskError(str(path), _line(text, wrong.where), field, wrong.problem, wrong.mend) from None


def turns_of(content: Any, source: str) -> tuple[Turn, ...]:
    """The turns of a recording's `content`, as its file has it. Raises `TaskError` that names `source`."""
    try:
        return _turns(content)
    except _Wrong as wrong:
        raise TaskError(source, 0, _field(wrong.where), wrong.problem, wrong.mend) from None


def content_of(turns: Sequence[Turn]) -> dict[str, Any]:
    """A recording's content, as JSON has it: `turns_of` reads the same turns from it."""
    return {"turns": [_content_of(turn) for turn in turns]}


def _content_of(turn: Turn) -> dict[str, Any]:
    if turn.error:
        status, message = turn.error
        return {"error": {"status": status, "message": message}}
    content: dict[str, Any] = {
        "text": turn.text,
        "tools": [{tool.name: tool.arguments} for tool in turn.tools],
        "finish_reason": turn.finish_reason,
    }
    if turn.usage is not None:
        content["usage"] = {name: getattr(turn.usage, name) for name in _USAGE_KEYS}
    return content


def _parse(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
            raise TaskError(str(path), line, "", f"is not JSON: {error}", _EXAMPLE) from None
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506  (a safe loader, the C one where there is one)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise TaskError(str(path), line, "", f"is not YAML: {error.problem}", _EXAMPLE) from None
    except (yaml.YAMLError, ValueError) as error:
        raise TaskError(str(path), 0, "", f"is not YAML: {error}", _EXAMPLE) from None


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _turns(content: Any) -> tuple[Turn, ...]:
    top = _mapping(content, (), ("turns",), _EXAMPLE)
    turns = top.get("turns")
    if not isinstance(turns, list) or not turns:
        raise _Wrong(("turns",), "must be a list of at least one turn", _EXAMPLE)
    return tuple(_turn(turn, ("turns", number)) for number, turn in enumerate(turns))


def _turn(content: Any, where: Where) -> Turn:
    turn = _mapping(content, where, _TURN_KEYS, "Write it as `text: ...`, `tools: [...]` or both.")
    if "error" in turn:
        if len(turn) > 1:
            raise _Wrong(where, "`error` stands alone in a turn", "Remove its other keys.")
        return Turn(error=_error(turn["error"], (*where, "error")))
    if "text" not in turn and "tools" not in turn:
        raise _Wrong(where, "says nothing", "Give it `text`, `tools` or `error`.")
    calls = turn.get("tools") or []
    if not isinstance(calls, list):
        raise _Wrong((*where, "tools"), "must be a list", "Write it as `- Bash: {command: ls}`.")
    tools = tuple(_tool(call, (*where, "tools", number)) for number, call in enumerate(calls))
    reason = _text(turn.get("finish_reason", "tool_calls" if tools else "stop"), (*where, "finish_reason"))
    usage = _usage(turn["usage"], (*where, "usage")) if "usage" in turn else None
    return Turn(_text(turn.get("text") or "", (*where, "text")), tools, usage, reason)


def _tool(content: Any, where: Where) -> ToolCall:
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
    usage = _mapping(
        content, where, _USAGE_KEYS, "Write it as `{prompt_tokens: 900, completion_tokens: 40}`."
    )
    for name, tokens in usage.items():
        if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
            raise _Wrong((*where, name), "must be a whole number, 0 or more")
    return Usage(**usage)


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
        node = yaml.compose(text, Loader=_loader())
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

"""Recordings written: as YAML that is pleasant to review, and as JSON to send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from pytest_goat.gateway.recording import (
    EVERY,
    USAGE_KEYS,
    WORKDIR,
    RecordingFile,
    Take,
    ToolCall,
    Turn,
    usual_reason,
)

_WIDTH = 110
"""Columns."""
_SHORT = 95
"""Characters of a mapping that stands in one line."""
_SPECIAL = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What only quotes can hold, escaped: YAML takes it for the end of a line, or forbids it."""


class _Turn(dict[str, Any]):
    """Stands in lines of its own, however short it is."""


def content_of(take: Take) -> dict[str, Any]:
    """A take as a recording has it; `recording.take_of` reads the same one from it."""
    content: dict[str, Any] = {}
    if take.workdir != WORKDIR:
        content["workdir"] = take.workdir
    if take.home:
        content["home"] = take.home
    content["turns"] = [_turn(turn) for turn in take.turns]
    return content


def to_yaml(recording: RecordingFile) -> str:
    """The text of a recording's file; `recording.read_recording` reads the same one from it."""
    content: dict[str, Any] = {"recorded": dict(recording.recorded)} if recording.recorded else {}
    if EVERY in recording.takes:
        content |= content_of(recording.takes[EVERY])
    else:
        takes = sorted(recording.takes.items())
        content["takes"] = [{"epoch": epoch, **content_of(take)} for epoch, take in takes]
    text: str = yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH)
    return text


def _turn(turn: Turn) -> _Turn:
    content = _Turn()
    if turn.asked is not None:
        asked = turn.asked
        content["asked"] = {"answers": asked.answers, "opening": asked.opening, "last": asked.last}
    if turn.error:
        status, message = turn.error
        content["error"] = {"status": status, "message": message}
        return content
    if turn.reasoning:
        content["reasoning"] = turn.reasoning
    if turn.text or not (turn.reasoning or turn.tools):
        content["text"] = turn.text
    if turn.tools:
        content["tools"] = [_tool(tool) for tool in turn.tools]
    if turn.finish_reason != usual_reason(turn.tools):
        content["finish_reason"] = turn.finish_reason
    if turn.usage is not None:
        tokens = {name: getattr(turn.usage, name) for name in USAGE_KEYS}
        content["usage"] = {name: count for name, count in tokens.items() if count}
    return content


def _tool(tool: ToolCall) -> dict[str, Any]:
    return {"name": tool.name, "arguments": tool.raw} if tool.raw else {tool.name: dict(tool.arguments)}


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, text of several lines in blocks, short mappings in one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def analyze_scalar(self, scalar: str) -> Any:
        analysis = super().analyze_scalar(scalar)
        # PyYAML quotes text with a tab, or with blanks at the end of a line; a block holds both.
        analysis.allow_block = "\n" in scalar and not _SPECIAL.search(scalar)
        return analysis

    def determine_block_hints(self, text: str) -> str:
        hints: str = super().determine_block_hints(text)
        # Without its width, indentation ends where the text begins, and may not hold a tab.
        return f"{self.best_indent}{hints}" if text.startswith("\t") else hints


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None
    if _SPECIAL.search(text) or "\n" in text:
        style = "|" if "\n" in text.strip() and not _SPECIAL.search(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _mapping(dumper: yaml.SafeDumper, mapping: Mapping[Any, Any]) -> yaml.Node:
    flat = not isinstance(mapping, _Turn) and not any(
        isinstance(value, dict | list) or "\n" in str(value) for value in mapping.values()
    )
    short = sum(len(str(key)) + len(str(value)) + 4 for key, value in mapping.items()) <= _SHORT
    return dumper.represent_mapping(
        "tag:yaml.org,2002:map", mapping.items(), flow_style=not mapping or (flat and short)
    )


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if "\n" in text or _SPECIAL.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(_Turn, _mapping)

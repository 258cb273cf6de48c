"""Kinds of values that name files: of the workspace, and of the host beside the prompt file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_goat.collect.documents import read_text
from pytest_goat.collect.kinds import Field, Home, Schema, Text, mapping_schema, read_table, table, want_table
from pytest_goat.collect.problems import Wrong, key_step, raise_all
from pytest_goat.collect.values import Table
from pytest_goat.task import FileSource

INSIDE = "write a path relative to the workspace, such as src/main.py"


class WorkPath:
    """A file of the workspace: relative, POSIX, with no way out."""

    def read(self, value: Any, home: Home) -> str:
        text = Text().read(value, home)
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if text.startswith("/") or ".." in parts:
            raise Wrong(f"{text} leads out of the workspace", INSIDE)
        if not parts or text.endswith("/"):
            raise Wrong(f"{text} is a folder", INSIDE)
        return "/".join(parts)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^(?!\.?$|/|.*/$|(.*/)?\.\.(/|$))"}


class HostFile:
    """A file beside the prompt file, read as its absolute path."""

    def read(self, value: Any, home: Home) -> Path:
        path = _beside(value, home)
        if not _is(path.is_file):
            raise Wrong(f"there is no file {path}", _relative_to(home))
        return path

    def schema(self) -> Schema:
        return Text().schema()


class HostText:
    """A file beside the prompt file, read as its text."""

    def read(self, value: Any, home: Home) -> str:
        path = HostFile().read(value, home)
        try:
            return Text().read(read_text(path), home)
        except Wrong as wrong:
            raise Wrong(f"{path} {wrong}", wrong.problems[0].mend) from None

    def schema(self) -> Schema:
        return Text().schema()


class HostFolder:
    """A folder beside the prompt file, read as its absolute path."""

    def read(self, value: Any, home: Home) -> Path:
        path = _beside(value, home)
        if not _is(path.is_dir):
            raise Wrong(f"there is no folder {path}", _relative_to(home))
        if Path(os.path.realpath(home.path)).is_relative_to(path):
            raise Wrong("holds the prompt file, checks and all", "keep the workspace in a folder of its own")
        return path

    def schema(self) -> Schema:
        return Text().schema()


class ImageName:
    """A machine's image: a registry's, or the Dockerfile beside the prompt file that makes it."""

    file = r"\./.*|(?:.*/)?Dockerfile[^/]*"
    name = (
        r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
        r"(?::[\w.-]{1,128})?(?:@sha256:[0-9a-f]{64})?"
    )
    """https://github.com/distribution/reference, without what nobody uses."""

    def read(self, value: Any, home: Home) -> str | Path:
        text = Text().read(value, home)
        if re.fullmatch(self.file, text):
            return HostFile().read(text, home)
        if not re.fullmatch(self.name, text):
            mend = "write an image, as in python:3.12-slim, or a file beside this one, as in ./Dockerfile"
            raise Wrong(f"{text} is no name of an image", mend)
        return text

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^(?:{self.file}|{self.name})$"}


FROM = table(Field("from", HostFile(), "File beside the prompt file; an executable one stays so."))


class Files:
    """Workspace paths with their content: text, or `{from: a file beside the prompt file}`."""

    def read(self, value: Any, home: Home) -> dict[str, FileSource]:
        given = want_table(value, "write {path: text} or {path: {from: file}}")
        found: dict[str, FileSource] = {}
        wrongs = []
        for key, content in given.items():
            try:
                path = WorkPath().read(key, home)
                if path in found:
                    raise Wrong(f"is {path} again", "keep one of them")
                found[path] = self._content(content, home)
            except Wrong as wrong:
                wrongs.append(wrong.below(key_step(key), given.lines[key]))
        raise_all(wrongs)
        for path in found:
            parent = path
            while parent := parent.rpartition("/")[0]:
                if parent in found:
                    raise Wrong(f"has {parent} as a file and as the folder of {path}", "rename one of them")
        return found

    def _content(self, content: Any, home: Home) -> FileSource:
        if not isinstance(content, Table):
            return Text(empty=True).read(content, home)
        values = read_table(content, FROM, home, "a file")
        if not values:
            raise Wrong("is an empty mapping", "write text, or {from: a file beside the prompt file}")
        path: Path = values["from"]
        return path

    def schema(self) -> Schema:
        content = {"anyOf": [{"type": "string"}, mapping_schema(FROM) | {"required": ["from"]}]}
        return {"type": "object", "propertyNames": WorkPath().schema(), "additionalProperties": content}


def _relative_to(home: Home) -> str:
    return f"write a path relative to {home.folder.absolute()}"


def _is(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _beside(value: Any, home: Home) -> Path:
    """The real path that `value`, relative to the prompt file, leads to."""
    text = Text().read(value, home)
    if Path(text).is_absolute():
        raise Wrong(f"{text} is absolute", _relative_to(home))
    path = Path(os.path.realpath(home.folder / text))
    root = Path(os.path.realpath(home.root))
    if not path.is_relative_to(root):
        raise Wrong(f"{text} leads out of {root}", "keep the files of a suite below its folder")
    return path

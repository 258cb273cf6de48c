"""Glob and Grep, without ripgrep: names by pattern, and lines by regular expression."""

from __future__ import annotations

import os
import re
import warnings

from ..errors import ToolError
from ..text import shorten
from .base import flag, number, optional_text, required_text
from .file_types import FILE_TYPES
from .globs import compile_glob, has_magic, relative, repository_rules, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from re import Pattern

    from .base import Arguments

GLOB_SHOWN = 50_000
GREP_SHOWN = 100_000
LINE_LENGTH = 2000
MAX_FILE = 64 * 1024 * 1024
"""Bytes of the largest file that Grep looks into."""
_MODES = ("content", "files_with_matches", "count")
_POSIX_SETS = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "word": "\\w",
    "xdigit": "0-9a-fA-F",
}


def glob(cwd: str, arguments: Arguments) -> str:
    """The paths that match `pattern` below `path`, files and folders, sorted by name. Raises `ToolError`."""
    pattern = required_text(arguments, "pattern")
    base = os.path.join(cwd, optional_text(arguments, "path"))
    if not os.path.isdir(base):
        raise ToolError(f"{base} is not a directory")
    # What comes before the first special character is walked to directly.
    segments = os.path.normpath(pattern).split("/")
    fixed = next((count for count, segment in enumerate(segments) if has_magic(segment)), len(segments))
    start = "/" if os.path.isabs(pattern) else base
    root = os.path.normpath(os.path.join(start, *segments[:fixed]))
    rest = "/".join(segments[fixed:])
    if not rest:
        found = [root] if os.path.lexists(root) else []
    else:
        matches = compile_glob(rest).fullmatch
        depth = 0 if "**" in rest else rest.count("/") + 1
        found = sorted(path for path in _below(root, depth) if matches(relative(path, root)))
    if not found:
        return "No files matched the pattern."
    return shorten("\n".join(found).encode("utf-8", "replace"), GLOB_SHOWN, f"{len(found)} files matched")


def _below(folder: str, depth: int) -> Iterator[str]:
    """All paths below `folder`, at most `depth` levels down (0: all); links are named, not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        yield entry.path
        if depth != 1 and entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, depth - 1 if depth else 0)


class _Query:
    """What a call of Grep asks for. Raises `ToolError`."""

    def __init__(self, arguments: Arguments) -> None:
        self.mode = optional_text(arguments, "output_mode") or "files_with_matches"
        if self.mode not in _MODES:
            raise ToolError(f"output_mode must be one of {', '.join(_MODES)}")
        self.multiline = flag(arguments, "multiline")
        self.numbers = flag(arguments, "show_line_numbers", "-n", default=True)
        around = number(arguments, "context_lines", "-C")
        self.after = number(arguments, "after_context", "-A") or around
        self.before = number(arguments, "before_context", "-B") or around
        self.pattern = _compile(
            required_text(arguments, "pattern"), flag(arguments, "case_insensitive", "-i"), self.multiline
        )


def grep(cwd: str, arguments: Arguments) -> str:
    """What matches `pattern` in the files below `path`, or in that file. Raises `ToolError`.

    As with ripgrep, hidden and binary files and what .gitignore names are passed over, unless `path` is the
    file itself.
    """
    query = _Query(arguments)
    path = os.path.normpath(os.path.join(cwd, optional_text(arguments, "path")))
    found: list[str] = []
    if os.path.isfile(path):
        found = _in_file(query, path, alone=True)
    elif os.path.isdir(path):
        for file in _files(path, optional_text(arguments, "glob"), optional_text(arguments, "type")):
            block = _in_file(query, file, alone=False)
            if found and block and query.mode == "content" and (query.before or query.after):
                found.append("--")
            found += block
    else:
        raise ToolError(f"{path}: no such file or directory")
    if not found:
        return "No matches found."
    limit = number(arguments, "head_limit") or len(found)
    hint = "narrow the search, or use head_limit"
    return shorten("\n".join(found[:limit]).encode("utf-8", "replace"), GREP_SHOWN, hint)


def _compile(pattern: str, ignore_case: bool, multiline: bool) -> Pattern[str]:
    """`pattern` with POSIX sets such as [[:alpha:]] written out, which Python does not know."""
    written = re.sub(r"\[:(\w+):\]", lambda match: _POSIX_SETS.get(match[1], match[0]), pattern)
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0) | (re.DOTALL if multiline else 0)
    try:
        with warnings.catch_warnings():
            # Python warns of sets that it may read otherwise one day.
            warnings.simplefilter("ignore")
            return re.compile(written, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise ToolError(f"regex parse error: {error}: {pattern}") from error


def _files(root: str, glob_filter: str, kind: str) -> Iterator[str]:
    wanted = _filters(root, glob_filter, kind)
    # A glob that names hidden files asks for them.
    hidden = "/." in f"/{glob_filter}"
    for path in walk(root, hidden=hidden, ignored=repository_rules(root)):
        if all(accepts(path) for accepts in wanted):
            yield path


def _filters(root: str, glob_filter: str, kind: str) -> list[Callable[[str], bool]]:
    wanted: list[Callable[[str], bool]] = []
    if glob_filter:
        negated = glob_filter.startswith("!")
        text = glob_filter[negated:].lstrip("/")
        matches = compile_glob(f"**/{text}").fullmatch
        wanted.append(lambda path: bool(matches(relative(path, root))) != negated)
    if kind:
        if kind not in FILE_TYPES:
            raise ToolError(f"unrecognized file type: {kind}; known are {', '.join(sorted(FILE_TYPES))}")
        of_type = compile_glob(FILE_TYPES[kind]).fullmatch
        wanted.append(lambda path: bool(of_type(os.path.basename(path))))
    return wanted


def _in_file(query: _Query, path: str, alone: bool) -> list[str]:
    """The lines that a file adds to the answer. `alone`: it was asked for by name, so they need no path."""
    content = _content(path, binary=alone)
    if content is None:
        return []
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    hits, matches = _hits(query, content, lines)
    if not hits:
        return []
    if query.mode == "files_with_matches":
        return [path]
    prefix = "" if alone else path
    if query.mode == "count":
        return [f"{prefix}:{matches}".lstrip(":")]
    return _shown(query, prefix, lines, hits)


def _content(path: str, binary: bool) -> str | None:
    try:
        if os.path.getsize(path) > MAX_FILE:
            return None
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if b"\0" in data[:8192] and not binary:
        return None
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _hits(query: _Query, content: str, lines: list[str]) -> tuple[list[int], int]:
    """The numbers (from 0) of the lines that belong to a match, and how many matches there are."""
    search = query.pattern.search
    if not query.multiline:
        hits = [index for index, line in enumerate(lines) if search(line)]
        return hits, len(hits)
    spanned: set[int] = set()
    matches = 0
    line = position = 0
    for match in query.pattern.finditer(content):
        line += content.count("\n", position, match.start())
        position = match.start()
        matches += 1
        last = line + content.count("\n", match.start(), max(match.end() - 1, match.start()))
        spanned.update(range(line, min(last, len(lines) - 1) + 1))
    return sorted(spanned), matches


def _shown(query: _Query, path: str, lines: list[str], hits: list[int]) -> list[str]:
    """Matching lines and those around them, as ripgrep has it: `path:number:line`, `path-number-line`."""
    shown: list[str] = []
    matched = set(hits)
    last = -1
    for hit in hits:
        first = max(hit - query.before, last + 1)
        if shown and first > last + 1 and (query.before or query.after):
            shown.append("--")
        for index in range(first, min(hit + query.after, len(lines) - 1) + 1):
            mark = ":" if index in matched else "-"
            fields = [path] if path else []
            if query.numbers:
                fields.append(str(index + 1))
            shown.append(mark.join([*fields, _cut(lines[index])]))
            last = index
    return shown


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]} ... [line cut]"

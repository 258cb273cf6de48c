"""Glob patterns as regular expressions, and walks over folders: shared by Glob and Grep."""

from __future__ import annotations

import os
import re

from ..errors import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from re import Pattern


def compile_glob(pattern: str) -> Pattern[str]:
    """A regular expression for whole relative paths. Raises `ToolError`.

    `*` and `?` stay within a name, `**` spans folders, `[a-z]` and `[!a-z]` are sets, `{a,b}` alternatives, a
    backslash takes the next character as it is. A leading dot needs no special mention.
    """
    try:
        return re.compile(_translate(pattern))
    except (re.error, IndexError) as error:
        raise ToolError(f"not a glob pattern: {pattern}") from error


def has_magic(text: str) -> bool:
    return any(character in text for character in "*?[{\\")


def _translate(pattern: str) -> str:
    parts: list[str] = []
    depth = position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            position, part = _stars(pattern, position)
        elif character == "[":
            position, part = _set(pattern, position)
        elif character == "\\":
            part = re.escape(pattern[position])
            position += 1
        elif character == "{":
            depth += 1
            part = "(?:"
        elif character in ",}" and depth:
            depth -= character == "}"
            part = "|" if character == "," else ")"
        else:
            part = "[^/]" if character == "?" else re.escape(character)
        parts.append(part)
    return "".join(parts)


def _stars(pattern: str, position: int) -> tuple[int, str]:
    """What a star stands for whose next character is at `position`."""
    alone = position == 1 or pattern[position - 2] in "/{,"
    if not pattern.startswith("*", position):
        return position, "[^/]*"
    position += 1
    if alone and pattern.startswith("/", position):
        return position + 1, "(?:[^/]+/)*"
    if alone and position == len(pattern):
        return position, ".+"
    return position, "[^/]*"


def _set(pattern: str, position: int) -> tuple[int, str]:
    negated = pattern[position] in "!^"
    start = position + negated
    end = pattern.index("]", start + 1) if "]" in pattern[start + 1 :] else -1
    if end < 0:
        return position, re.escape("[")
    inside = (
        pattern[start:end].replace("[", "\\[").replace("&", "\\&").replace("~", "\\~").replace("|", "\\|")
    )
    return end + 1, f"[{'^/' if negated else ''}{inside}]"


def relative(path: str, folder: str) -> str:
    """What of `path` comes after `folder`, which it is below."""
    return path[len(folder.rstrip("/")) + 1 :]


class Ignored:
    """What the .gitignore files of a repository hide (https://git-scm.com/docs/gitignore)."""

    def __init__(self) -> None:
        self._rules: list[tuple[str, Pattern[str], bool, bool]] = []

    def load(self, folder: str) -> Ignored:
        """These rules and those of `folder`'s own .gitignore, which come last and so win."""
        try:
            with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return self
        extended = Ignored()
        extended._rules = self._rules + [rule for line in lines for rule in _rule(folder, line)]
        return extended

    def hides(self, path: str, is_folder: bool) -> bool:
        hidden = False
        for base, pattern, negated, folders_only in self._rules:
            if (is_folder or not folders_only) and pattern.fullmatch(relative(path, base)):
                hidden = not negated
        return hidden


def _rule(folder: str, line: str) -> Iterator[tuple[str, Pattern[str], bool, bool]]:
    """The rule that a line of a .gitignore makes: base, pattern, negated, for folders only."""
    text = line.rstrip()
    if not text or text.startswith("#"):
        return
    negated = text.startswith("!")
    text = text[negated:]
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    try:
        yield folder, compile_glob(text.lstrip("/") if anchored else f"**/{text}"), negated, folders_only
    except ToolError:
        return


def walk(root: str, *, hidden: bool, ignored: Ignored | None) -> Iterator[str]:
    """The regular files below `root`, in the order of their names; links are not followed.

    `hidden`: names with a leading dot too (but never .git). `ignored`: what is left out.
    """
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    if ignored is not None:
        ignored = ignored.load(root)
    for entry in entries:
        if entry.name == ".git" or (entry.name.startswith(".") and not hidden):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignored is not None and ignored.hides(entry.path, is_folder):
            continue
        if is_folder:
            yield from walk(entry.path, hidden=hidden, ignored=ignored)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def repository_rules(folder: str) -> Ignored | None:
    """The rules that hold in `folder` from the root of its git repository down; None outside of any."""
    above: list[str] = []
    current = os.path.abspath(folder)
    while not os.path.exists(os.path.join(current, ".git")):
        parent = os.path.dirname(current)
        if parent == current:
            return None
        above.append(parent)
        current = parent
    rules = Ignored()
    for ancestor in reversed(above):
        rules = rules.load(ancestor)
    return rules

"""What an agent changed in its workspace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from io import StringIO
from itertools import islice

from pytest_goat.sandbox.base import File, Files

MAX_CHARS = 256 * 1024
CONTEXT = 3
MAX_COMPARED = 1_000_000
"""Lines of one side times lines of the other. Comparing takes time that grows with it, and the agent chooses
the content; beyond, the old lines are shown as deleted and the new ones as added."""

HUNK = re.compile(r"^@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


def workspace_changes(before: Files, after: Files) -> tuple[dict[str, str], str]:
    """Each changed path with `added`, `modified` or `deleted`, and a unified diff, at most 256 kB long.

    Files that are no text are named with their size, after all text, so that text is cut last.
    """
    changed = {}
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            changed[path] = "added"
        elif path not in after:
            changed[path] = "deleted"
        elif before[path] != after[path]:
            changed[path] = "modified"
    return changed, _bounded(_file_diffs(changed, before, after))


def _bounded(lines: Iterator[str]) -> str:
    text, room = [], MAX_CHARS
    for line in lines:
        room -= len(line)
        if room < 0:
            text.append(f"[... the diff goes on, cut at {MAX_CHARS // 1024} kB ...]\n")
            break
        text.append(line)
    return "".join(text)


def _file_diffs(changed: dict[str, str], before: Files, after: Files) -> Iterator[str]:
    binary = []
    for path, kind in changed.items():
        old, new = before.get(path), after.get(path)
        old_text, new_text = _text(old), _text(new)
        name = path if path.isprintable() else ascii(path)
        if old and new and old.executable != new.executable:
            yield f"{name}: {'now' if new.executable else 'no longer'} executable\n"
        if old_text is None or new_text is None:
            binary.append(f"{name}: {kind}, binary, {len((new or old or File(b'')).data)} bytes\n")
        elif old_text != new_text:
            yield from _text_diff(name, kind, _lines(old_text), _lines(new_text))
        elif kind != "modified":
            yield f"{name}: {kind}, empty\n"
    yield from binary


def _text(file: File | None) -> str | None:
    """The file's text, "" for no file, None when it is no text."""
    if file is None:
        return ""
    try:
        text = file.data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _lines(text: str) -> list[str]:
    """Split at line feeds alone, as every tool that reads a diff does."""
    return StringIO(text).readlines()


def _text_diff(name: str, kind: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield f"--- {'/dev/null' if kind == 'added' else 'a/' + name}\n"
    yield f"+++ {'/dev/null' if kind == 'deleted' else 'b/' + name}\n"
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    old_count, new_count = len(old) - start - end, len(new) - start - end
    if old_count * new_count > MAX_COMPARED or not old_count or not new_count:
        yield from _one_hunk(old, new, start, end)
        return
    # What both have at the start and the end is left out but for the context: only the middle costs time.
    skipped = max(0, start - CONTEXT)
    old_middle = old[skipped : start + old_count + CONTEXT]
    new_middle = new[skipped : start + new_count + CONTEXT]
    hunks = unified_diff(old_middle, new_middle, n=CONTEXT)
    for line in islice(hunks, 2, None):  # past the two lines of names
        if match := HUNK.match(line):
            old_start, new_start = int(match[1]) + skipped, int(match[3]) + skipped
            yield f"@@ -{old_start}{match[2] or ''} +{new_start}{match[4] or ''} @@\n"
        else:
            yield _ended(line)


def _one_hunk(old: Sequence[str], new: Sequence[str], start: int, end: int) -> Iterator[str]:
    first, last = max(0, start - CONTEXT), min(CONTEXT, end)
    old_stop, new_stop = len(old) - end, len(new) - end
    yield f"@@ -{_range(first, old_stop + last)} +{_range(first, new_stop + last)} @@\n"
    yield from (_ended(" " + line) for line in old[first:start])
    yield from (_ended("-" + line) for line in old[start:old_stop])
    yield from (_ended("+" + line) for line in new[start:new_stop])
    yield from (_ended(" " + line) for line in old[old_stop : old_stop + last])


def _range(start: int, stop: int) -> str:
    """Lines start to stop (0-based, half open) as hunk headers have them; none: the line before."""
    return f"{start + 1 if stop > start else start},{stop - start}"


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines both have at the start."""
    length = 0
    for a, b in zip(old, new, strict=False):
        if a != b:
            break
        length += 1
    return length

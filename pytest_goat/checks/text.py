"""Text for people: cleaned, bounded, compared. What agents leave may be of any size and any bytes."""

from __future__ import annotations

import difflib
import re

MAX_CHARS = 4096
"""Characters of one quoted text."""
MAX_LINES = 40
LINE_CHARS = 200
"""Characters of one line of a diff."""
CONTEXT = 3
"""Lines of a diff before the first difference."""
NEAREST_LINES = 500
"""Lines among which a similar one is looked for: the search costs time for each."""

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without terminal escapes, control characters and lone surrogates: safe to print and to store."""
    return CONTROLS.sub("", ESCAPES.sub("", text.replace("\r\n", "\n")))


def decode(data: bytes) -> str:
    return data.decode(errors="replace")


def tail(text: str) -> str:
    """The last lines of `text`; says so when there are more."""
    lines = text.rstrip().splitlines()
    kept = "\n".join(lines[-MAX_LINES:])
    if len(kept) > MAX_CHARS:
        kept = kept[-MAX_CHARS:]
    return kept if len(kept) >= len(text.rstrip()) else f"[...]\n{kept}"


def shorten(text: str, chars: int = MAX_CHARS) -> str:
    """Head and tail of `text`, with what is left out counted."""
    if len(text) <= chars:
        return text
    half = chars // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[len(text) - half :]}"


def one_line(text: str, chars: int = 60) -> str:
    """`text` on one line, cut at its end."""
    line = " ".join(clean(text[: 4 * chars]).split())
    return line if len(line) <= chars else line[: chars - 3] + "..."


def quote(text: str) -> str:
    """`text` in double quotes when it is short, else as an indented block."""
    text = shorten(clean(text))
    if "\n" not in text and len(text) <= LINE_CHARS:
        return f'"{text}"'
    return "\n" + indent(text)


def indent(text: str, by: str = "  ") -> str:
    return "\n".join(f"{by}{line}".rstrip() for line in text.splitlines())


def diff(expected: str, seen: str) -> str:
    """The first differing lines of two unequal texts: `-` expected, `+` seen.

    Only a window round the first difference is compared, because a diff of two long texts can take hours.
    """
    before, after = expected.splitlines(), seen.splitlines()
    same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
    first = min(len(before), len(after)) if same is None else same
    start = max(0, first - CONTEXT)
    window = slice(start, start + MAX_LINES)
    lines = list(
        difflib.unified_diff(
            [_clip(line) for line in before[window]],
            [_clip(line) for line in after[window]],
            lineterm="",
            n=MAX_LINES,
        )
    )
    # The first three lines are the names of two files and a position within the window.
    shown = lines[3:]
    if not shown:
        return f"the same lines, but for white space or what lies beyond {LINE_CHARS} characters of a line"
    return f"from line {start + 1}, - expected, + seen:\n" + "\n".join(shown)


def nearest(needle: str, text: str) -> str:
    """The line of `text` most like the first line of `needle`, or words that there is none."""
    lines = text.splitlines()
    if not lines:
        return "it is empty"
    first = _clip(next((line for line in needle.splitlines() if line.strip()), needle).strip())
    candidates = [_clip(line.strip()) for line in lines[:NEAREST_LINES]]
    close = difflib.get_close_matches(first, candidates, n=1, cutoff=0.5)
    if close:
        return f"not in it; the nearest is line {candidates.index(close[0]) + 1}: {close[0]}"
    count = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
    return f"not in it, nor a line like it ({count})"


def _clip(line: str) -> str:
    line = clean(line)
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 3] + "..."

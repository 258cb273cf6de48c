"""stdout and stderr. A reader that has gone away is no reason to fail."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def show(text: str) -> None:
    """Write to stdout, as it is."""
    _write(sys.stdout, text)


def say(line: str) -> None:
    """Write a line to stderr."""
    _write(sys.stderr, line + "\n")


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    try:
        stream.buffer.write(text.encode("utf-8", "replace"))
        stream.flush()
    except OSError:
        return

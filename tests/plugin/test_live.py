"""The live line, as somebody at a terminal sees it."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_server import Answer, ModelServer, Reply, Status, ToolCall
from tests.support.suites import hello_task, write_suite
from tests.support.terminal import run_at_terminal

TRIALS, FIRST = 4, 3
"""How many there are; and the calls to the model that pass before its limit is reached."""
PAUSE = 3.0
"""Seconds for which it refuses calls then."""
WRITE = Answer("I write.", tools=[ToolCall("Bash", {"command": "echo hello > hello.txt"})])


def limited() -> Any:
    """A script for `ModelServer`: what goes beyond the limit is refused, for a while."""
    calls, lock = [], threading.Lock()

    def reply(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        if "hello" not in str(request["messages"]):
            return Answer("OK")  # to the preflight
        with lock:
            calls.append(time.monotonic())
            if len(calls) > FIRST and calls[-1] < calls[FIRST] + PAUSE:
                return Status(429, headers={"Retry-After": f"{PAUSE:g}"})
        return Answer("Done.") if "I write." in str(request["messages"]) else WRITE

    return reply


def screen(said: str) -> list[str]:
    """The rows as they stand at the end."""
    rows, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", said):
        if piece == "\n":
            row += 1  # the driver of the terminal puts \r before it
            rows += [""] * (row + 1 - len(rows))
        elif piece == "\r":
            column = 0
        elif piece == "\x1b[2K":
            rows[row] = ""
        elif piece == "\x1b[A":
            row -= 1
        elif not piece.startswith("\x1b"):
            rows[row] = rows[row].ljust(column)[:column] + piece + rows[row][column + len(piece) :]
            column += len(piece)
    return rows


@pytest.mark.parametrize("options", [("-n", "2"), ("--goat-parallel", "2")], ids=["workers", "one process"])
def test_it_tells_what_a_rate_limit_holds_back_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-0123456789")
    (scratch := tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    write_suite(tmp_path / "suite", [hello_task(f"t{number}", timeout=60) for number in range(TRIALS)])
    with ModelServer(limited(), models=["m"]) as server:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "suite"]
        command += ["--goat-model=m", "--goat-api-url", server.url, *options]
        code, said = run_at_terminal(command, tmp_path, os.environ)
    assert code == 0, said
    line = rf"\d/{TRIALS} done, 2 running, .*2 waiting for m \(rate limit, [1-3] s\)"
    assert re.search(line, said), said
    rows = screen(said)
    assert not [row for row in rows if " done, " in row]
    letters = [found[1] for row in rows if (found := re.match(r"(?:suite/t\d\.yaml )?(\.+)(?: |$)", row))]
    assert "".join(letters) == "." * TRIALS, rows
    assert not list(scratch.glob("goat-*"))

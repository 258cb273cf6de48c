"""Programs on a terminal of 100 columns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_at_terminal(
    words: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    hear: Callable[[str], object] = lambda said: None,
    timeout: float = 60.0,
) -> tuple[int, str]:
    """Run a program to its end, and return its exit code and all that it says.

    `hear` is called with all that it has said so far, whenever more comes. After `timeout` seconds it is
    killed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    own = {name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        words, cwd=folder, env={**own, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    deadline = threading.Timer(timeout, process.kill)
    deadline.start()
    said = bytearray()
    try:
        with contextlib.suppress(OSError):  # so Linux says that nobody has the other side any more
            while more := os.read(ours, 65536):
                said += more
                hear(said.decode(errors="replace"))
        code = process.wait()
    finally:
        deadline.cancel()
        process.kill()
        os.close(ours)
    return code, said.decode(errors="replace")

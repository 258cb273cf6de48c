"""Bash: a command in a fresh shell, with its output in a file.

A file and not a pipe, so that a server which a command leaves behind neither holds up the answer nor dies of
a closed pipe, and so that a long output can be looked at afterwards.
"""

from __future__ import annotations

import os
import subprocess
import time

from .. import processes
from ..errors import ToolError
from ..text import join_ends
from .base import flag, number, required_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..processes import Processes
    from .base import Arguments

DEFAULT_TIMEOUT = 120.0
MAX_TIMEOUT = 600.0
SHOWN = 30_000
"""Bytes of output that the model gets."""
MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes of output at which a command is killed, so that it cannot fill the disk."""
_LOOK = 0.1
"""Seconds between looks at the size of the output."""


def bash(given: Processes, cwd: str, arguments: Arguments) -> str:
    """Run `command`. Raises `ToolError` when it exits with anything but 0, or takes too long."""
    command = required_text(arguments, "command")
    task = os.urandom(8).hex()
    path = given.file(f"{task}.out")
    # Appended to, and read by position: what a command leaves behind goes on writing with the same offset.
    output = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = given.start(
            ["bash", "-c", command], cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        if flag(arguments, "run_in_background"):
            return (
                f"Task started in background with ID: {task} (process {process.pid})\n"
                f"Its output goes to {path}: look at it with Read. It is killed when you finish."
            )
        seconds = min(number(arguments, "timeout") / 1000 or DEFAULT_TIMEOUT, MAX_TIMEOUT)
        problem = _wait(process, output, seconds)
        shown = _shown(output, path)
    finally:
        os.close(output)
    if problem:
        raise ToolError(f"{problem}\n{shown}".rstrip("\n"))
    if process.returncode:
        # A negative code is a signal's; a shell shows it as 128 + N.
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        raise ToolError(f"[exit code {code}]\n{shown}".rstrip("\n"))
    return shown


def _wait(process: subprocess.Popen[bytes], output: int, seconds: float) -> str:
    """Wait until the shell ends; the reason why it had to be killed, or ""."""
    until = time.monotonic() + seconds
    try:
        while not processes.wait(process, min(_LOOK, max(until - time.monotonic(), 0))):
            if time.monotonic() >= until:
                return f"command timed out after {seconds:g}s; it was killed, with all that it had started"
            if os.fstat(output).st_size > MAX_OUTPUT:
                return f"the command was killed because it wrote more than {MAX_OUTPUT} bytes of output"
    finally:
        if process.returncode is None:
            processes.kill(process)
    return ""


def _shown(output: int, path: str) -> str:
    """What the command wrote, less line ends at the end; the file stays only where not all of it is shown."""
    size = os.fstat(output).st_size
    if size > SHOWN:
        head = os.pread(output, SHOWN * 2 // 3, 0)
        tail = os.pread(output, SHOWN - len(head), size - (SHOWN - len(head)))
        return join_ends(head, tail, size, f"all of it is in {path}").rstrip("\n")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # the command has removed it
    return os.pread(output, SHOWN, 0).decode("utf-8", "replace").rstrip("\n")

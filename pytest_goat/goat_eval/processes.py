"""The processes of the tools: each in a session of its own, none with the API key, all dead at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from .config import HIDDEN
from .errors import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Union

    File = Union[int, IO[bytes]]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PATIENCE = 2.0
"""Seconds that killed processes may take to be gone."""


class Processes:
    """What the tools have started, and a private folder for its output."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        base = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the folder in it is new and private
        self._folder = os.path.join(base, f"goat-{os.getpid()}-{os.urandom(4).hex()}")
        _adopt_orphans_and_hide_key()

    def start(
        self,
        argv: list[str],
        cwd: str,
        *,
        stdin: File,
        stdout: File,
        stderr: File,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `argv` in `cwd` with our environment, less what is hidden, and `env`. Raises `ToolError`."""
        visible = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**visible, **(env or {})},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            if not os.path.isdir(cwd):
                raise ToolError(f"the working directory {cwd} is not there") from error
            raise ToolError(f"cannot start {argv[0]}: {error.strerror}") from error
        self._started.append(process)
        return process

    def file(self, name: str) -> str:
        """A path in the private folder, which is removed at the end. Raises `ToolError`."""
        try:
            # Made anew each time: a command may have emptied the folder of temporary files.
            os.mkdir(self._folder, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise ToolError(
                f"no folder for output can be made at {self._folder}: {error.strerror}"
            ) from error
        return os.path.join(self._folder, name)

    def close(self) -> None:
        """Kill all that was started and all that it started, and remove the private folder."""
        for process in self._started:
            kill(process)
        until = time.monotonic() + _PATIENCE
        while (children := _children()) and time.monotonic() < until:
            for pid in children:
                _end(pid)
            time.sleep(0.001)
        try:
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
            os.rmdir(self._folder)
        except OSError:
            return  # it was never made, or somebody else keeps something in it


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole session of `process`, and reap it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing is left of it, or its number is somebody else's by now
    wait(process, _PATIENCE)


def wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether `process` ends within `seconds`."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError, PermissionError):
        return


def _children() -> list[int]:
    """Our children, those included that lost their parents and came to us."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _adopt_orphans_and_hide_key() -> None:
    """Become the parent of daemons that leave their session, so that they can be found at the end; and blank
    the key in the block that the kernel shows as /proc/PID/environ to every process of the same user.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.getenv.restype = ctypes.c_void_p
        address = libc.getenv(b"OPENAI_API_KEY")
        if address:
            ctypes.memset(address, ord("x"), len(os.environb.get(b"OPENAI_API_KEY", b"")))
    except (ImportError, OSError, AttributeError):
        return  # a Python without ctypes, or not Linux: groups are killed all the same

"""Runs one command, within its limits, to the end of everything that it started."""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import IO, Any

from . import processes, trees
from .layout import HOME, PATH, TMP

NOT_FOUND, NOT_EXECUTABLE = 127, 126
WATCH = 0.25
"""Seconds between looks at what the command uses."""
DRAIN_WITHIN = 5.0
"""Seconds for what is left in the pipes when nobody writes to them any more."""
CHUNK = 1 << 16
STDIN, STDOUT, STDERR, WAKE, TOLD = range(5)

Limits = Mapping[str, int]


def run(command: Mapping[str, Any], stdin: bytes, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """Run `command`; how it ended, and its stdout and stderr."""
    started = time.monotonic()
    child = Child(command, stdin, limits)
    if command["until_told"]:
        child.listen()
    code, reason = child.wait(started + command["timeout"])
    clean = processes.end_all()
    streams = child.rest()
    if not reason and trees.used() > limits["disk"]:
        code, reason = -signal.SIGKILL, "disk"
    result = {
        "exit_code": int(code),
        "timed_out": reason == "timeout",
        "limit": "" if reason == "timeout" else reason,
        "truncated": child.truncated,
        "duration": time.monotonic() - started,
        "streams": [len(stream) for stream in streams],
        "clean": clean,
    }
    return result, streams


class Child:
    """A command with its three streams."""

    def __init__(self, command: Mapping[str, Any], stdin: bytes, limits: Limits) -> None:
        self._limits = limits
        self._stdin = memoryview(stdin)
        self._kept = {STDOUT: bytearray(), STDERR: bytearray()}
        self.truncated = False
        self._told = False
        self._code = 0
        woken, wake = os.pipe()
        for fd in (woken, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(woken, selectors.EVENT_READ, WAKE)
        self._process = self._start(command)

    def _start(self, command: Mapping[str, Any]) -> subprocess.Popen[bytes] | None:
        """The started command; None when there is none, which `_code` and stderr then tell."""
        env = {"PATH": os.environ.get("PATH", PATH), "HOME": HOME, "TMPDIR": TMP, "LANG": "C.UTF-8"}
        try:
            process = subprocess.Popen(
                command["argv"],
                env={**env, **command["env"]},
                cwd=command["cwd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=self._confine,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            problem = f"{command['argv'][0]}: {error.strerror if isinstance(error, OSError) else error}\n"
            self._kept[STDERR] += problem.encode(errors="replace")
            return None
        self._register(process.stdin, selectors.EVENT_WRITE, STDIN)
        self._register(process.stdout, selectors.EVENT_READ, STDOUT)
        self._register(process.stderr, selectors.EVENT_READ, STDERR)
        return process

    def _register(self, stream: IO[bytes] | None, events: int, which: int) -> None:
        assert stream is not None  # noqa: S101 - all three are pipes
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, events, which)

    def _confine(self) -> None:
        """Make the freshly forked process one of the user's, for good."""
        limits = self._limits
        for which, most in (
            (resource.RLIMIT_DATA, limits["memory"]),
            (resource.RLIMIT_NPROC, limits["processes"]),
            (resource.RLIMIT_FSIZE, limits["file_size"]),
            (resource.RLIMIT_NOFILE, limits["open_files"]),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(which)[1]
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (bound, bound))
        os.umask(0o022)
        processes.become_user()

    def listen(self) -> None:
        """End the command when our own stdin ends: whoever asked for it says so that its time is over."""
        self._selector.register(0, selectors.EVENT_READ, TOLD)

    def wait(self, deadline: float) -> tuple[int, str]:
        """The exit code, and why the command has to be ended: "" when it ended by itself."""
        if self._process is None:
            return self._code, ""
        look = time.monotonic() + WATCH
        while True:
            now = time.monotonic()
            if now >= deadline or self._told:
                return -signal.SIGKILL, "timeout"
            if now >= look:
                if limit := self._exceeded():
                    return -signal.SIGKILL, limit
                look = time.monotonic() + WATCH
            self._pump(max(0.0, min(deadline, look) - now))
            status = processes.reap(self._process.pid)
            if status is not None:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return self._process.returncode, ""

    def _exceeded(self) -> str:
        """The limit that all of the user's processes break together now, "" for none.

        The kernel bounds what each of them uses; not every kernel bounds how many they are.
        """
        found = list(processes.alive())
        if sum(process.threads for process in found) > self._limits["processes"]:
            return "processes"
        return "memory" if sum(process.memory for process in found) > self._limits["memory"] else ""

    def _pump(self, seconds: float) -> bool:
        """Move bytes, once there are some, for at most `seconds`; whether there were."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            stream: Any = key.fileobj
            if key.data == WAKE:
                os.read(stream, 512)
            elif key.data == TOLD:
                self._told = True
                self._selector.unregister(stream)
            elif key.data == STDIN:
                self._feed(stream)
            else:
                self._drink(stream, self._kept[key.data])
        return bool(ready)

    def _feed(self, stream: IO[bytes]) -> None:
        try:
            if self._stdin:
                self._stdin = self._stdin[os.write(stream.fileno(), self._stdin[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._stdin = self._stdin[:0]  # the command wants no more
        if not self._stdin:
            self._selector.unregister(stream)
            stream.close()

    def _drink(self, stream: IO[bytes], kept: bytearray) -> None:
        chunk = os.read(stream.fileno(), CHUNK)
        if not chunk:
            self._selector.unregister(stream)
            return
        room = self._limits["output"] - len(kept)
        self.truncated |= len(chunk) > room
        kept += chunk[:room]

    def rest(self) -> list[bytes]:
        """Empty the pipes, now that nobody writes to them any more; all of stdout and of stderr."""
        deadline = time.monotonic() + DRAIN_WITHIN
        while time.monotonic() < deadline and self._pump(0):
            pass
        return [bytes(self._kept[STDOUT]), bytes(self._kept[STDERR])]

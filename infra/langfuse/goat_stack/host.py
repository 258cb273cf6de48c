"""The container that the stack runs in: its disk, its unprivileged user, and the processes started there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from goat_stack.errors import StackError

TOOL_SECONDS = 600.0
"""No tool (initdb, a base backup, a migration) may take longer."""

POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/libexec/postgresql*", "/usr/local/bin")
"""Where Debian, Alpine and the official images keep the server's programs, which are not on the PATH."""

MAX_PATH = 80
"""Bytes of the data folder's path: that of a unix socket below it may have 107."""

PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")


@dataclass(frozen=True)
class Host:
    """`data`: a folder of the container's own disk, scratch: emptied at each boot.
    `owner`: user and group id that all parts run as, None when this process is unprivileged itself.
    """

    data: Path
    owner: tuple[int, int] | None
    lock: int

    @classmethod
    @contextlib.contextmanager
    def claim(cls, data: Path, user: str) -> Iterator[Host]:
        """Take `data` for this stack alone. Raises StackError when another stack, or a process that one left
        behind, still uses it, when its path is too long, or when there is no `user`, whom root needs to give
        up its rights.
        """
        if len(os.fsencode(data)) > MAX_PATH:
            raise StackError(
                f"GOAT_LANGFUSE_DATA is too long, at most {MAX_PATH} bytes: sockets lie below it"
            )
        owner = _ids(user) if os.geteuid() == 0 else None
        data.mkdir(parents=True, exist_ok=True)
        with (data / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StackError(
                    f"another stack, or a process that it left, uses {data}: "
                    "stop it, or set GOAT_LANGFUSE_DATA"
                ) from error
            if owner:
                os.chown(data, *owner)
            yield cls(data, owner, lock.fileno())

    def unpack(self, archive: Path, folder: Path) -> None:
        """Unpack a gzipped tar into `folder` as the parts' user, who need not be able to open `archive`."""
        with archive.open("rb") as file:
            self.run([program("tar", "apt-get install -y tar"), "-xzf", "-", "-C", str(folder)], stdin=file)

    def python(self) -> str:
        """A Python that the parts' user can run, which this one need not be; raises StackError."""
        for candidate in (str(Path(sys.executable).resolve()), *PYTHONS):
            with contextlib.suppress(StackError):
                self.run([candidate, "-I", "-S", "-c", ""])
                return candidate
        raise StackError(f"{self.user_name()} can run no Python: apt-get install -y python3")

    def user_name(self) -> str:
        """Who the parts run as."""
        return pwd.getpwuid(self.owner[0] if self.owner else os.geteuid()).pw_name

    def give(self, path: Path) -> None:
        """Make `path` the parts' own."""
        if self.owner:
            os.chown(path, *self.owner)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a part gets of the environment: nothing secret, unless it stands in `extra`."""
        plain = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        return {"HOME": str(self.data), **plain, **(extra or {})}

    def child(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> Child:
        """Start a part's process. It holds the lock too: if it outlives the stack, the next one notices."""
        try:
            process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd or self.data,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(self.lock,),
                user=self.owner[0] if self.owner else None,
                group=self.owner[1] if self.owner else None,
                extra_groups=[] if self.owner else None,
            )
        except OSError as error:
            raise StackError(f"{name} cannot be started: {argv[0]}: {error.strerror}") from error
        return Child(name, process)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: BinaryIO | None = None,
        text: str = "",
    ) -> str:
        """Run a tool as the parts' user and return its output; raises StackError with its last words."""
        try:
            done = subprocess.run(
                argv,
                env=env or self.environment(),
                cwd=cwd or self.data,
                stdin=stdin,
                input=None if stdin else text.encode(),
                capture_output=True,
                check=False,
                timeout=TOOL_SECONDS,
                user=self.owner[0] if self.owner else None,
                group=self.owner[1] if self.owner else None,
                extra_groups=[] if self.owner else None,
            )
        except OSError as error:
            raise StackError(f"{argv[0]} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{argv[0]} did not end within {TOOL_SECONDS:.0f} s") from error
        if done.returncode:
            raise StackError(
                f"{Path(argv[0]).name} failed: {done.stderr.decode(errors='replace').strip()[-600:]}"
            )
        return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Child:
    """A process of a part, with all that it starts in its process group."""

    name: str
    process: subprocess.Popen[bytes]

    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self, signal_number: signal.Signals = signal.SIGTERM, grace: float = 8.0) -> None:
        """Ask the process to end, and kill its whole group when it has not within `grace` seconds."""
        if self.running():
            self.process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def program(name: str, mend: str) -> str:
    """The path of a program that must be installed; raises StackError with `mend` when it is not."""
    if found := shutil.which(name):
        return found
    for pattern in POSTGRES_FOLDERS:
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if (folder / name).is_file():
                return str(folder / name)
    raise StackError(f"{name} is not installed: {mend}")


def free_port() -> int:
    """A port on the loopback that nobody listens on: parts are told of each other's by environment.

    Below those that Linux gives to connections, one of which may come before the part listens.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _ids(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise StackError(
            f"there is no user {user} to run as: create it, or set GOAT_LANGFUSE_USER"
        ) from error
    if entry.pw_uid == 0:
        raise StackError(
            "GOAT_LANGFUSE_USER must not be root: Postgres refuses that, and the others should not run so"
        )
    return entry.pw_uid, entry.pw_gid

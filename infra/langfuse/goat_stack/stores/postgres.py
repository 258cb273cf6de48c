"""Postgres: base backups as generations, and the write-ahead log since then."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from goat_stack.disk import fresh_folder, private_file
from goat_stack.errors import StackError
from goat_stack.generations import Backup, Snapshot
from goat_stack.host import Child, Host, free_port, program
from goat_stack.wal import WalArchive, WalServer, client_commands

INSTALL = "apt-get install -y postgresql"
SUPERUSER = "postgres"
DATABASE = "langfuse"
SEGMENT = 4 << 20
"""Bytes of a segment of the write-ahead log. Small, as most are closed early and nearly empty."""


@dataclass
class Postgres:
    """One server on the loopback. `archive_seconds`: after that long at most a commit is being archived."""

    host: Host
    archive: WalArchive
    password: str
    archive_seconds: int
    name: str = "postgres"
    port: int = field(default_factory=free_port)
    _child: Child | None = None
    _server: WalServer | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        return self.host.data / "postgres"

    @property
    def sockets(self) -> Path:
        return self.host.data / "run"

    def prepare(self, backup: Backup | None) -> None:
        fresh_folder(self.data, self.host.owner)
        fresh_folder(self.sockets, self.host.owner)
        if backup:
            self.host.unpack(_base_of(backup), self.data)
            self.archive.source = backup.epoch
            private_file(self.data / "recovery.signal", "", self.host.owner)
        else:
            self._initialise()
        self._configure()
        self._server = WalServer(self.archive, self.sockets / "wal.sock", self.host.owner)

    def start(self) -> None:
        argv = [program("postgres", INSTALL), "-D", str(self.data)]
        self._child = self.host.child(self.name, argv, self.host.environment())

    def running(self) -> bool:
        return self._child is not None and self._child.running()

    def healthy(self) -> bool:
        try:
            return self.query("SELECT 1") == "1"
        except StackError:
            return False

    def finish(self) -> None:
        """Give the superuser its password of today, and make the database where there is none yet."""
        literal = self.password.replace("'", "''")
        self.query(f"SET standard_conforming_strings = on; ALTER ROLE {SUPERUSER} PASSWORD '{literal}'")
        if self.query(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'") != "1":  # noqa: S608
            self.query(f"CREATE DATABASE {DATABASE}")

    def snapshot(self, full: bool) -> Snapshot | None:
        if not full:
            return None
        folder = fresh_folder(self.host.data / "base", self.host.owner)
        argv = [program("pg_basebackup", INSTALL), *self._connection(), "--no-password", "--no-sync"]
        self.host.run(
            [
                *argv,
                "--checkpoint=fast",
                "--format=tar",
                "--compress=client-gzip:1",
                "--wal-method=fetch",
                f"--pgdata={folder}",
            ]
        )
        base = folder / f"base-{_first_segment(folder / 'backup_manifest')}.tar.gz"
        (folder / "base.tar.gz").rename(base)
        return Snapshot([base])

    def stop(self) -> None:
        """Fast shutdown: Postgres closes the last segment and archives it before it ends."""
        if self._child:
            self._child.stop(signal.SIGINT, grace=15.0)
        if self._server:
            self._server.close()
            self._server = None

    def unarchived(self) -> int:
        """How many segments wait to be archived."""
        return sum(1 for _ in (self.data / "pg_wal" / "archive_status").glob("*.ready"))

    def query(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser over the unix socket; returns what psql prints, unaligned."""
        argv = [program("psql", INSTALL), *self._connection(), "-d", database, "--no-password", "-XqAt"]
        return self.host.run(
            [*argv, "-v", "ON_ERROR_STOP=1"], text=f"SET client_min_messages = error; {sql};"
        ).strip()

    def _connection(self) -> list[str]:
        return ["-h", str(self.sockets), "-p", str(self.port), "-U", SUPERUSER]

    def _initialise(self) -> None:
        argv = [program("initdb", INSTALL), "-D", str(self.data), "-U", SUPERUSER, "--auth=peer", "--no-sync"]
        self.host.run(
            [*argv, "--encoding=UTF8", "--locale=C", "--data-checksums", f"--wal-segsize={SEGMENT >> 20}"]
        )

    def _configure(self) -> None:
        """Write the whole configuration: what a backup brought with it is of another container."""
        archive_command, restore_command = client_commands(self.host, self.sockets / "wal.sock")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "wal_level": "replica",
            "hot_standby": "off",  # no connection is accepted before the recovery has ended
            "archive_mode": "on",
            "archive_timeout": str(self.archive_seconds),
            "archive_command": archive_command,
            "restore_command": restore_command,
            "max_connections": "100",
            "log_min_error_statement": "panic",  # statements hold what users typed, and a password
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        lines = (f"{name} = '{value}'\n" for name, value in settings.items())
        owner = self.host.owner
        private_file(self.data / "postgresql.conf", "".join(lines), owner)
        private_file(self.data / "postgresql.auto.conf", "", owner)
        private_file(
            self.data / "pg_hba.conf",
            "local all all peer map=stack\n"
            "local replication all peer map=stack\n"
            "host all all 127.0.0.1/32 scram-sha-256\n",
            owner,
        )
        private_file(self.data / "pg_ident.conf", f"stack {self.host.user_name()} {SUPERUSER}\n", owner)


def first_kept_segment(files: list[str]) -> str:
    """The segment that the base backup among `files` begins with: what is older is not needed for it."""
    return (
        next(name for name in files if name.startswith("base-")).removeprefix("base-").removesuffix(".tar.gz")
    )


def _base_of(backup: Backup) -> Path:
    return next(path for path in backup.files if path.name.startswith("base-"))


def _first_segment(manifest: Path) -> str:
    """The name of the first segment that a base backup needs: timeline, then position in two halves."""
    span = json.loads(manifest.read_text())["WAL-Ranges"][0]
    high, low = (int(half, 16) for half in span["Start-LSN"].split("/"))
    return f"{span['Timeline']:08X}{high:08X}{low // SEGMENT:08X}"

"""ClickHouse: the traces. A generation is one full backup, and the changes since it."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from goat_stack.disk import fresh_folder, private_file
from goat_stack.errors import StackError
from goat_stack.generations import Backup, Snapshot
from goat_stack.host import Child, Host, free_port, program
from goat_stack.stores.base import answers, ask

USER = "langfuse"
BACKUP_SECONDS = 600.0
PARTS = """
    SELECT groupBitXor(cityHash64(database, table, name)) FROM system.parts
    WHERE active AND database = 'default'
"""
"""One number for all the data: parts are never changed, only made and dropped."""

CONFIG = """<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http_port}</http_port>
  <tcp_port>{tcp_port}</tcp_port>
  <path>{data}/</path>
  <tmp_path>{data}/tmp/</tmp_path>
  <user_files_path>{data}/user_files/</user_files_path>
  <format_schema_path>{data}/format_schemas/</format_schema_path>
  <mark_cache_size>268435456</mark_cache_size>
  <backups><allowed_path>{backups}/</allowed_path></backups>
  <user_directories><users_xml><path>{data}/users.xml</path></users_xml></user_directories>
</clickhouse>
"""
USERS = """<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><{user}>
    <password_sha256_hex>{digest}</password_sha256_hex>
    <networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
  </{user}></users>
</clickhouse>
"""


@dataclass
class ClickHouse:
    """One server on the loopback."""

    host: Host
    password: str
    name: str = "clickhouse"
    http_port: int = field(default_factory=free_port)
    tcp_port: int = field(default_factory=free_port)
    _child: Child | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _backup: Backup | None = None
    _full: str = ""
    _seen: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def migration_url(self) -> str:
        return f"clickhouse://127.0.0.1:{self.tcp_port}"

    @property
    def data(self) -> Path:
        return self.host.data / "clickhouse"

    @property
    def backups(self) -> Path:
        return self.host.data / "clickhouse-backups"

    def prepare(self, backup: Backup | None) -> None:
        fresh_folder(self.data, self.host.owner)
        fresh_folder(self.backups, self.host.owner)
        ports = {"http_port": self.http_port, "tcp_port": self.tcp_port}
        config = CONFIG.format(data=self.data, backups=self.backups, **ports)
        private_file(self.data / "config.xml", config, self.host.owner)
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        private_file(self.data / "users.xml", USERS.format(user=USER, digest=digest), self.host.owner)
        self._backup = backup

    def start(self) -> None:
        mend = "take it from the image clickhouse/clickhouse-server, or give CLICKHOUSE_URL"
        argv = [program("clickhouse", mend), "server", f"--config-file={self.data / 'config.xml'}"]
        self._child = self.host.child(self.name, argv, self.host.environment())

    def running(self) -> bool:
        return self._child is not None and self._child.running()

    def healthy(self) -> bool:
        return answers(f"{self.url}/ping")

    def finish(self) -> None:
        """Restore the backup that `prepare` was given: only a running server can."""
        if self._backup is None:
            return
        for path in self._backup.files:
            shutil.copyfile(path, self.backups / path.name)
            self.host.give(self.backups / path.name)
        full, newest = self._backup.files[0].name, self._backup.files[-1].name
        base = f" SETTINGS base_backup = {self._file(full)}" if newest != full else ""
        self.query(f"RESTORE DATABASE default FROM {self._file(newest)}{base}")
        fresh_folder(self.backups, self.host.owner)

    def snapshot(self, full: bool) -> Snapshot | None:
        parts = self.query(PARTS)
        if not full and parts == self._seen:
            return None
        number = next(self._numbers)
        if full:
            fresh_folder(self.backups, self.host.owner)
            name = self._full = f"full-{number:08d}.zip"
            base = ""
        else:
            name = f"changes-{number:08d}.zip"
            base = f" SETTINGS base_backup = {self._file(self._full)}"
        self.query(f"BACKUP DATABASE default TO {self._file(name)}{base}")
        self._seen = parts
        for path in self.backups.glob("changes-*.zip"):
            if path.name != name:
                path.unlink()
        return Snapshot([self.backups / name], replaces="changes-*.zip")

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    def query(self, sql: str) -> str:
        """Run one statement; returns its output. Raises StackError with the server's words."""
        headers = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": self.password}
        try:
            return ask(self.url, sql.encode(), headers, BACKUP_SECONDS).strip()
        except OSError as error:
            raise StackError(f"ClickHouse: {error}") from error

    def _file(self, name: str) -> str:
        return f"File('{self.backups / name}')"

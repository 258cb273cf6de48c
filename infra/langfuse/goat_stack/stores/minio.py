"""MinIO: the events and media that Langfuse stores as objects. A snapshot is a tar of new files."""

from __future__ import annotations

import itertools
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from goat_stack.disk import fresh_folder
from goat_stack.generations import Backup, Snapshot
from goat_stack.host import Child, Host, free_port, program
from goat_stack.stores.base import answers

BUCKET = "langfuse"
USER = "langfuse"
OWN = (".minio.sys/tmp", ".minio.sys/config", ".minio.sys/multipart")
"""What MinIO makes anew, or writes for the password of one boot."""

Stamp = tuple[int, int]
"""Size and time of change of a file. MinIO renames whole files into place and never changes them there."""


@dataclass
class Minio:
    """One server with one disk on the loopback."""

    host: Host
    password: str
    name: str = "minio"
    port: int = field(default_factory=free_port)
    _child: Child | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _seen: dict[str, Stamp] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.host.data / "minio"

    def prepare(self, backup: Backup | None) -> None:
        fresh_folder(self.data, self.host.owner)
        for pack in backup.files if backup else ():
            self.host.unpack(pack, self.data)
        bucket = self.data / BUCKET
        bucket.mkdir(exist_ok=True)
        self.host.give(bucket)

    def start(self) -> None:
        mend = "take it from the image minio/minio, or give LANGFUSE_S3_EVENT_UPLOAD_BUCKET"
        argv = [
            program("minio", mend),
            "server",
            "--quiet",
            "--address",
            f"127.0.0.1:{self.port}",
            str(self.data),
        ]
        secret = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": self.password, "MINIO_BROWSER": "off"}
        self._child = self.host.child(self.name, argv, self.host.environment(secret))

    def running(self) -> bool:
        return self._child is not None and self._child.running()

    def healthy(self) -> bool:
        return answers(f"{self.url}/minio/health/live")

    def finish(self) -> None: ...

    def snapshot(self, full: bool) -> Snapshot | None:
        if full:
            self._seen = {}
        stamps = dict(_files(self.data))
        new = [name for name, stamp in stamps.items() if self._seen.get(name) != stamp]
        if not new and not full:
            return None
        pack = fresh_folder(self.host.data / "minio-pack") / f"objects-{next(self._numbers):08d}.tar.gz"
        with tarfile.open(pack, "w:gz", compresslevel=1) as tar:
            for name in new:
                try:
                    tar.add(self.data / name, name, recursive=False)
                except FileNotFoundError:  # deleted since it was seen
                    stamps.pop(name)
        self._seen = stamps
        return Snapshot([pack])

    def stop(self) -> None:
        if self._child:
            self._child.stop()


def _files(root: Path) -> Iterator[tuple[str, Stamp]]:
    """The files below `root` that a snapshot holds, by their path from there."""
    for folder, _, names in os.walk(root):
        inside = os.path.relpath(folder, root)
        if inside.startswith(OWN):
            continue
        for name in names:
            path = Path(folder, name)
            try:
                facts = path.lstat()
            except FileNotFoundError:
                continue
            yield os.path.normpath(f"{inside}/{name}"), (facts.st_size, facts.st_mtime_ns)

"""The archive of Postgres's write-ahead log on the volume.

Postgres runs unprivileged and hands each finished segment, by `wal_client.py` and a unix socket, to this
process, which alone writes on the volume. A segment counts as archived only when it is committed there.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import socketserver
import threading
import zlib
from io import BufferedIOBase
from pathlib import Path

from goat_stack.disk import write_packed
from goat_stack.epochs import Epoch
from goat_stack.errors import StackError
from goat_stack.host import Host

log = logging.getLogger("goat_stack")

WAL_NAME = re.compile(r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup|\.partial)?|[0-9A-F]{8}\.history")
MAX_SIZE = 1 << 30
"""Bytes of the largest segment size that initdb allows."""


class WalArchive:
    """Puts into this stack's epoch; gets from `source`, the folder of the epoch that is restored, if any."""

    def __init__(self, epoch: Epoch) -> None:
        self.source: Path | None = None
        self._epoch = epoch
        self._folder = epoch.folder / "wal"

    def put(self, name: str, data: bytes) -> None:
        """Keep a segment for good; raises StackError, and Postgres will try again."""
        with self._epoch.lock:
            self._epoch.check()
            self._folder.mkdir(exist_ok=True)
            write_packed(self._folder / f"{name}.gz", data)
            self._epoch.volume.commit()

    def get(self, name: str) -> bytes | None:
        """A segment of the epoch that is restored; None when there is none, which ends the recovery there."""
        if self.source is None:
            return None
        with self._epoch.lock:
            try:
                return gzip.decompress((self.source / "wal" / f"{name}.gz").read_bytes())
            except FileNotFoundError:
                return None
            except (OSError, EOFError, zlib.error) as error:
                log.error("segment %s is damaged (%s): what was committed after it is lost", name, error)
                return None

    def prune(self, first: str) -> None:
        """Drop the segments before `first`, the one that the oldest kept base backup begins with."""
        with self._epoch.lock:
            for path in self._folder.glob("*.gz"):
                # The first eight digits are the timeline, the rest is the position, the same on each of them.
                if not path.name.endswith(".history.gz") and path.name[8:24] < first[8:24]:
                    path.unlink(missing_ok=True)


class WalServer:
    """Answers `wal_client.py` on the unix socket at `path`, for `owner` alone, in threads of its own."""

    def __init__(self, archive: WalArchive, path: Path, owner: tuple[int, int] | None) -> None:
        self._server = _Server(archive, path)
        if owner:
            os.chown(path, *owner)
        path.chmod(0o600)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, archive: WalArchive, path: Path) -> None:
        self.archive = archive
        super().__init__(str(path), _Request)


class _Request(socketserver.StreamRequestHandler):
    """`put NAME SIZE` and the bytes, or `get NAME`; answers `ok SIZE` and bytes, `absent` or `error WHY`."""

    server: _Server
    timeout = 60

    def handle(self) -> None:
        archive = self.server.archive
        try:
            verb, name, *size = self.rfile.readline(200).decode("ascii").split()
            if not WAL_NAME.fullmatch(name):
                raise StackError(f"{name} is no name of a segment")
            if verb == "put":
                archive.put(name, _exactly(self.rfile, int(size[0])))
                self.wfile.write(b"ok 0\n")
            elif (data := archive.get(name)) is None:
                self.wfile.write(b"absent\n")
            else:
                self.wfile.write(b"ok %d\n" % len(data) + data)
        except (StackError, OSError, ValueError, IndexError) as error:
            log.error("a segment of the write-ahead log was not carried: %s", error)
            self.wfile.write(f"error {error}\n".encode())


def _exactly(stream: BufferedIOBase, size: int) -> bytes:
    if not 0 <= size <= MAX_SIZE:
        raise StackError(f"{size} bytes are no segment")
    data = stream.read(size)
    if len(data) != size:
        raise StackError("the segment was cut off")
    return data


def client_commands(host: Host, address: Path) -> tuple[str, str]:
    """Postgres's `archive_command` and `restore_command` for the server on the socket `address`.

    The client is put where Postgres's user can read it, wherever this package lies.
    """
    client = host.data / "wal_client.py"
    client.write_bytes(Path(__file__).with_name("wal_client.py").read_bytes())
    client.chmod(0o644)
    start = f'"{host.python()}" -I -S "{client}" "{address}"'
    return f'{start} put "%f" "%p"', f'{start} get "%f" "%p"'

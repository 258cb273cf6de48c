"""Stands in for the programs that the Langfuse stack starts and that cannot be had in tests.

Run as `stack_programs.py NAME ARGS...` through small scripts called as the programs are. ClickHouse and MinIO
keep data in the folder that they are given and know just what the stack asks of them; every start is
written, with its arguments, into `$HOME/started`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import xml.etree.ElementTree as ElementTree
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOME = Path(os.environ["HOME"])
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers as `reply` says, which gets the method, the path and the body."""

    def do_GET(self) -> None:
        status, text = self.reply("GET", self.path, b"")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            status, text = self.reply("POST", self.path, body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_POST

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return 200, b"ok"

    def log_message(self, format: str, *args: object) -> None: ...


class ObjectHandler(Handler):
    """An object is a file in the folder."""

    root: Path

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        file = self.root / path.strip("/")
        if path.startswith("/minio/health"):
            return 200, b""
        if method == "POST":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            return 200, b""
        return (200, file.read_bytes()) if file.is_file() else (404, b"")


class TraceHandler(Handler):
    """Rows are lines of a file; a backup is a zip, with all of them or those since its base."""

    rows: Path

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "GET":
            return 200, b"Ok."
        sql = body.decode()
        rows = self.rows.read_text().splitlines() if self.rows.exists() else []
        files = re.findall(r"File\('([^']+)'\)", sql)
        if sql.startswith("INSERT "):
            self.rows.write_text("\n".join([*rows, sql.removeprefix("INSERT ")]))
        elif sql.startswith("BACKUP"):
            base = read_backup(files[1:])
            with zipfile.ZipFile(files[0], "x") as archive:
                archive.writestr("rows", json.dumps({"base": len(base), "rows": rows[len(base) :]}))
        elif sql.startswith("RESTORE"):
            self.rows.write_text("\n".join(read_backup(files[1:]) + read_backup(files[:1])))
        elif "groupBitXor" in sql:
            return 200, str(hash(tuple(rows))).encode()
        else:
            return 200, "\n".join(rows).encode()
        return 200, b""


def read_backup(files: list[str]) -> list[str]:
    if not files:
        return []
    with zipfile.ZipFile(files[0]) as archive:
        rows: list[str] = json.loads(archive.read("rows"))["rows"]
        return rows


def serve(handler: type[Handler], port: int) -> None:
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


def main(name: str, *arguments: str) -> None:
    with (HOME / "started").open("a") as file:
        file.write(" ".join([name, *arguments]) + "\n")
    broken = HOME.with_name(f"{name}.broken")
    if broken.exists():
        sys.exit(broken.read_text())
    if name == "node":
        (HOME / f"{Path(arguments[0]).stem}.env").write_text(json.dumps(dict(os.environ)))
        serve(Handler, int(os.environ["PORT"]))
    elif name == "minio":
        ObjectHandler.root = Path(arguments[-1])
        serve(ObjectHandler, int(arguments[-2].rpartition(":")[2]))
    elif name == "clickhouse":
        config = ElementTree.parse(arguments[-1].removeprefix("--config-file=")).getroot()
        TraceHandler.rows = Path(config.findtext("path", "")) / "rows"
        serve(TraceHandler, int(config.findtext("http_port", "")))


if __name__ == "__main__":
    main(*sys.argv[1:])

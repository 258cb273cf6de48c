"""Serves one request."""

# Pythons of other people's images read this: nothing newer than 3.9, and pathlib costs at every start.
# ruff: noqa: PTH101, PTH103, PTH123

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, BinaryIO

from . import command, processes, trees
from .haul import Haul, take
from .layout import HOME, OUTDIR, USER, WORKDIR
from .refusal import Refusal


def main() -> None:
    """Serve the request of stdin."""
    processes.become_reaper()
    header, body = serve(sys.stdin.buffer)
    write_frame(sys.stdout.buffer, header, body)


def serve(source: BinaryIO) -> tuple[dict[str, Any], list[bytes]]:
    """Do what the request wants; header and body of the reply."""
    request = json.loads(source.read(int(source.readline())))
    files = [source.read(size) if size >= 0 else None for _, _, size, _ in request["puts"]]
    answer: dict[str, Any] = {"takes": []}
    body: list[bytes] = []
    try:
        furnish()
        trees.put_all(request["puts"], files)
        if request["command"]:
            stdin = source.read(request["command"]["stdin"])
            answer["result"], streams = command.run(request["command"], stdin, request["limits"])
            body += streams
            trees.refresh()
        for root, paths, max_bytes, max_files in request["takes"]:
            haul = Haul(max_bytes, max_files)
            take(root, paths, haul)
            answer["takes"].append(
                {"files": haul.files, "refused": haul.refused, "truncated": haul.truncated}
            )
            body += haul.data
        answer["used"] = trees.used()
    except Refusal as refusal:
        return {"refusal": refusal.kind, "message": str(refusal)}, []
    return answer, body


def write_frame(out: BinaryIO, header: dict[str, Any], body: list[bytes]) -> None:
    """Write a reply."""
    head = json.dumps(header).encode()
    out.write(b"GOAT %d %d\n" % (len(head), sum(map(len, body))))
    out.write(head)
    for part in body:
        out.write(part)
    out.write(b"END\n")
    out.flush()


def furnish() -> None:
    """Make what a fresh sandbox lacks: folders for the user, and a name."""
    if os.geteuid() != 0:
        raise Refusal("image", "its commands do not start as root: end its Dockerfile with `USER root`")
    for folder in (WORKDIR, OUTDIR, HOME):
        os.makedirs(folder, exist_ok=True)
        if os.lstat(folder).st_uid != USER:
            os.chown(folder, USER, USER)
        os.chmod(folder, 0o755)  # noqa: S103 - as any home
    for name, line in (
        ("/etc/passwd", f"goat:x:{USER}:{USER}::{HOME}:/bin/sh\n"),
        ("/etc/group", f"goat:x:{USER}:\n"),
    ):
        with contextlib.suppress(OSError), open(name, "a+") as file:  # a user without a name will do
            file.seek(0)
            if f":{USER}:" not in file.read():
                file.write(line)

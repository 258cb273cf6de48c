"""Makes boxes: runs the zygote, and orders from it what a sandbox is to be like."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_goat.sandbox.local import host, syscalls
from tests.modal_server import box_host
from tests.modal_server.box import Box
from tests.modal_server.box_line import BoxError, Line
from tests.modal_server.box_mounts import DEVICES
from tests.modal_server.state import Placed

_SCRIPT = Path(__file__).with_name("box_zygote.py")

PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{Path(sys.executable).parent}"
"""Of every command that is given no other."""

_PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
"""A link would not do: a virtual environment is known by the folder of its interpreter."""
_OWN_FILES = {
    "/etc/passwd": (
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost modal\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "/usr/local/bin/python": _PYTHON,
    "/usr/local/bin/python3": _PYTHON,
}


@dataclass(frozen=True)
class VolumeMount:
    """`folder` of the host is at `path` inside."""

    path: str
    folder: Path
    read_only: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a box is to be like."""

    files: Mapping[str, Placed] = field(default_factory=dict)
    """Absolute path -> file that the image adds."""
    folders: Sequence[str] = ()
    """Made where they are missing."""
    volumes: Sequence[VolumeMount] = ()
    ports: Sequence[int] = ()
    """Ports of the host's loopback that can be reached at the same ones inside."""


class Boxes:
    """Makes boxes. The first one starts the zygote, which needs root and Linux."""

    def __init__(self) -> None:
        self._zygote: _Zygote | None = None
        self._starting = asyncio.Lock()

    async def open(self, wanted: Wanted) -> Box:
        """A new box. Raises `BoxError` when there can be none."""
        async with self._starting:
            if self._zygote is None:
                self._zygote = await _Zygote.start()
        return await self._zygote.open(wanted)

    def close(self) -> None:
        """End the zygote, and with it every box."""
        if self._zygote is not None:
            self._zygote.close()


class _Zygote:
    """The running zygote. Make it with `start`."""

    def __init__(self) -> None:
        self._view = host.view()
        self._line = Line()
        self._namespace = -1
        with self._line.there as there:
            # The main thread has to do it: the zygote ends with the thread that started it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SCRIPT), str(there.fileno())],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )

    @classmethod
    async def start(cls) -> _Zygote:
        if problem := box_host.obstacle():
            raise BoxError(problem)
        zygote = cls()
        try:
            await zygote._settle()
        except (OSError, BoxError) as error:
            zygote.close()
            raise BoxError(f"the Modal test server cannot isolate sandboxes here: {error}") from error
        return zygote

    async def _settle(self) -> None:
        """Map the zygote's ids, and give it what it shows of the host."""
        await self._line.answer()
        self._namespace = box_host.map_ids(self._process.pid)
        trees = [box_host.system_tree(path, self._namespace) for path in self._view.trees]
        fds = [*trees, *box_host.device_trees(DEVICES)]
        self._line.send({"trees": len(trees)}, fds)
        _close_all(fds)
        await self._line.answer()

    async def open(self, wanted: Wanted) -> Box:
        line = Line()
        with line.there as there:
            self._line.send({}, [there.fileno()])
        fds: list[int] = []
        try:
            data, files = _pack(wanted.files)
            fds.append(data)
            for volume in wanted.volumes:
                fds.append(box_host.volume_tree(volume.folder, self._namespace, read_only=volume.read_only))
            order = {
                "trees": self._view.trees,
                "links": self._view.links,
                "files": files,
                "folders": list(wanted.folders),
                "volumes": [volume.path for volume in wanted.volumes],
                "ports": list(wanted.ports),
            }
            line.send(order, fds)
            _, (process, *listeners) = await line.answer()
        except BaseException as error:
            line.close()
            if isinstance(error, OSError):
                raise BoxError(str(error)) from error
            raise
        finally:
            _close_all(fds)
        return Box(line, process, listeners)

    def close(self) -> None:
        self._line.close()
        self._process.kill()
        self._process.wait()
        if self._namespace >= 0:
            os.close(self._namespace)


Packed = tuple[str, int, int, int]
"""Path, mode, offset and size of a file."""


def _pack(added: Mapping[str, Placed]) -> tuple[int, list[Packed]]:
    """All files of a box: a memory file with their bytes, and what lies where in it."""
    data = syscalls.memory_file("box-files")
    files: list[Packed] = []
    offset = 0
    for path, mode, content in _contents(added):
        os.pwrite(data, content, offset)
        files.append((path, mode, offset, len(content)))
        offset += len(content)
    return data, files


def _contents(added: Mapping[str, Placed]) -> Iterator[tuple[str, int, bytes]]:
    for path, text in _OWN_FILES.items():
        yield path, 0o755 if path.startswith("/usr") else 0o644, text.encode()
    for path, placed in added.items():
        yield path, placed.mode & 0o7777, placed.source.read_bytes()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)

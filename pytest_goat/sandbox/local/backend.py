"""The local backend: chooses the isolation, keeps the launcher, opens sandboxes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from pytest_goat.sandbox.base import SandboxSpec
from pytest_goat.sandbox.local import host, wire
from pytest_goat.sandbox.local.channel import Channel
from pytest_goat.sandbox.local.identity import sandbox_id
from pytest_goat.sandbox.local.sandbox import LocalSandbox

_LAUNCHER = Path(__file__).with_name("launcher.py")
_SPARES = 2


class LocalBackend:
    """Makes sandboxes on this machine."""

    def __init__(self, engine: str = "auto", unsafe: bool = False) -> None:
        self._engine, self._unsafe = engine, unsafe
        self._description = ""
        self._owner = sandbox_id()
        self._process: subprocess.Popen[bytes] | None = None
        self._open: set[LocalSandbox] = set()

    @property
    def name(self) -> str:
        return "local"

    @property
    def description(self) -> str:
        return self._description

    async def start(self) -> None:
        keeper, keeper_there = wire.pair()
        zygote, zygote_there = wire.pair()
        with keeper_there, zygote_there:
            fds = (keeper_there.fileno(), zygote_there.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, fds)],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
            )
        self._keeper, self._zygote = Channel(keeper), Channel(zygote)
        shown = host.view()
        self._keeper.send(
            {"host_id": self._owner, "trees": shown.trees, "links": shown.links, "memory_files": False}
        )
        await self._zygote.receive()
        self._description = "local/ns"

    async def open(self, spec: SandboxSpec) -> LocalSandbox:
        control, there = wire.pair()
        channel = Channel(control)
        with there:
            self._zygote.send({}, [there.fileno()])
        trees: list[int] = []
        try:
            for mount in spec.mounts:
                trees += (await self._keeper.request({"tree": mount.source}))[1]
            request = {
                "limits": self._limits(spec),
                "mounts": [mount.target for mount in spec.mounts],
                "listen": spec.attach is not None,
            }
            _, (box, process, *listener) = await channel.request(request, trees)
        except BaseException:
            channel.close()
            raise
        finally:
            for tree in trees:
                os.close(tree)
        if spec.attach is not None:
            spec.attach(socket.socket(fileno=listener[0]), True)
        sandbox = LocalSandbox(
            channel, box, process, self._owner, spec.limits, f"{sys.prefix}/bin", self._open.discard
        )
        self._open.add(sandbox)
        return sandbox

    def _limits(self, spec: SandboxSpec) -> dict[str, int]:
        limits = spec.limits
        return {
            "memory": limits.memory,
            "processes": limits.processes,
            "file_size": limits.file_size,
            "disk": limits.disk,
            "open_files": limits.open_files,
            "watch_memory": limits.memory,
        }

    async def stop(self) -> None:
        for sandbox in list(self._open):
            await sandbox.close()
        if self._process is not None:
            self._keeper.close()
            self._zygote.close()
            self._process.wait()

"""The launcher process as the harness has it: started once, asked for inits and for host trees."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_goat.sandbox.local import wire
from pytest_goat.sandbox.local.channel import Channel

_PATIENCE = 10.0
"""Seconds that the launcher may take to clean up; it takes milliseconds."""
_SCRIPT = Path(__file__).with_name("launcher.py")


class Launcher:
    """Owns the launcher process and the two sockets to it. Make it with `start`."""

    landlock = 0
    """Version of the kernel's Landlock, where it is used."""

    def __init__(
        self, told: wire.Message, process: subprocess.Popen[bytes], keeper: Channel, zygote: Channel
    ):
        self._told, self._process, self._keeper, self._zygote = told, process, keeper, zygote
        self._keeper_free = asyncio.Lock()

    @classmethod
    async def start(cls, told: wire.Message) -> Launcher:
        """Start the launcher. Raises `SandboxError` in the launcher's words when it cannot do its work."""
        keeper, keeper_there = wire.pair()
        zygote, zygote_there = wire.pair()
        with keeper_there, zygote_there:
            fds = (keeper_there.fileno(), zygote_there.fileno())
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SCRIPT), *map(str, fds)],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,  # Ctrl-C is the harness's to handle
            )
        launcher = cls(told, process, Channel(keeper), Channel(zygote))
        try:
            launcher._keeper.send(told)
            ready, _ = await launcher._zygote.receive()
            launcher.landlock = ready.get("landlock", 0)
        except BaseException:
            launcher.stop()
            raise
        return launcher

    @property
    def namespaces(self) -> bool:
        """Whether sandboxes have own mounts and an own network."""
        return bool(self._told["engine"] == "ns")

    def spawn(self, fds: Sequence[int] = ()) -> Channel:
        """A socket to a new init, which is being made. Raises `SandboxError` when the launcher is gone."""
        control, there = wire.pair()
        channel = Channel(control)
        with there:
            try:
                self._zygote.send({}, [there.fileno(), *fds])
            except BaseException:
                channel.close()
                raise
        return channel

    async def tree(self, source: str) -> int:
        """A descriptor of a read-only copy of the host's `source`, to mount in a sandbox."""
        async with self._keeper_free:
            _, (tree,) = await self._keeper.request({"tree": source})
        return tree

    def stop(self) -> None:
        """End the launcher, and with it every sandbox."""
        self._keeper.close()
        self._zygote.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if folder := self._told.get("temporary"):
            shutil.rmtree(folder, ignore_errors=True)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)

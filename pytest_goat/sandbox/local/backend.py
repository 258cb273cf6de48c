"""The local backend: chooses the isolation, keeps the launcher and a few spare inits, opens sandboxes."""

from __future__ import annotations

import asyncio
import collections
import posixpath
import socket
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.errors import Cause, SandboxError, UserError
from pytest_goat.sandbox.base import Mount, SandboxSpec
from pytest_goat.sandbox.local import canary, engines, host, layout
from pytest_goat.sandbox.local.cgroup import MemoryGroup, MemoryGroups
from pytest_goat.sandbox.local.channel import Channel
from pytest_goat.sandbox.local.launch import Launcher, close_all
from pytest_goat.sandbox.local.sandbox import LocalSandbox, Parts

_SPARES = 2
"""Inits that wait, isolated already, so that opening a sandbox does not wait for the kernel."""
_AT_A_TIME = 32
"""Sandboxes being opened; the others wait. More would only be in each other's way."""
_OPEN_TIMEOUT = 60.0
"""Seconds."""


@dataclass(slots=True)
class _Spare:
    channel: Channel
    group: MemoryGroup | None


class LocalBackend:
    """Makes sandboxes on this machine.

    `engine` is "ns", "landlock", or "auto" for the best there is. `unsafe` allows none at all where neither
    is to be had; engine "none" asks for that outright, and needs `unsafe`.
    """

    def __init__(self, engine: str = "auto", unsafe: bool = False) -> None:
        self._engines = engines.to_try(engine, unsafe)
        self._description = ""
        self._launcher: Launcher | None = None
        self._groups: MemoryGroups | None = None
        self._spares: collections.deque[_Spare] = collections.deque()
        self._opened: set[LocalSandbox] = set()
        self._opening = asyncio.Semaphore(_AT_A_TIME)

    @property
    def name(self) -> str:
        return "local"

    @property
    def description(self) -> str:
        return self._description

    def handover(self) -> dict[str, str]:
        return {}

    async def sweep(self, worker: str = "") -> int:
        """Nothing is left here: a sandbox ends with the process that made it."""
        return 0

    async def start(self) -> None:
        """Choose the isolation by trying it. Raises `UserError`, with the mend, where none holds."""
        self._groups = MemoryGroups.probe()
        shown = host.view()
        refusals: dict[str, str] = {}
        for engine in self._engines:
            try:
                await self._start_engine(engine, shown)
            except SandboxError as error:
                refusals[engine] = str(error).removeprefix("local sandbox: ")
                await self.stop()
            else:
                return
        raise UserError(canary.refusal(refusals))

    async def _start_engine(self, engine: str, shown: host.HostView) -> None:
        told = engines.settings(engine, shown, cgroup=self._groups is not None)
        self._launcher = await Launcher.start(told)
        self._fill_spares()
        if engine != "none":
            await canary.check(self.open)
        self._description = engines.describe(engine, told, self._launcher.landlock)

    async def open(self, spec: SandboxSpec) -> LocalSandbox:
        """A fresh sandbox, furnished as `spec` says. Raises `UserError` for a mount that cannot be."""
        for mount in spec.mounts:
            _check_mount(mount)
        async with self._opening:
            return await self._open(spec)

    async def _open(self, spec: SandboxSpec) -> LocalSandbox:
        try:
            spare = self._spares.popleft() if self._spares else self._spawn()
            self._fill_spares()
        except OSError as error:
            raise SandboxError(Cause.SANDBOX_LIMIT, f"local sandbox: {error} (see ulimit -n)") from error
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                return await self._furnish(spare, spec)
        except TimeoutError as error:
            self._drop(spare)
            raise SandboxError(Cause.SANDBOX_LOST, "local sandbox: it did not open in time") from error
        except BaseException:
            self._drop(spare)
            raise

    async def _furnish(self, spare: _Spare, spec: SandboxSpec) -> LocalSandbox:
        request = {
            "limits": engines.bounds(spec.limits, watched=spare.group is None),
            "sources": [mount.source for mount in spec.mounts],
            "targets": [mount.target for mount in spec.mounts],
            "listen": spec.attach is not None,
        }
        if spare.group is not None:
            spare.group.limit(spec.limits.memory)
        trees: list[int] = []
        try:
            if self._running().namespaces:
                for mount in spec.mounts:
                    trees.append(await self._running().tree(mount.source))
            answer, (box, process, *listener) = await spare.channel.request(request, trees)
        finally:
            close_all(trees)
        parts = Parts(spare.channel, box, process, spare.group)
        sandbox = LocalSandbox(parts, answer, spec, self._forget)
        self._opened.add(sandbox)
        if spec.attach is not None:
            spec.attach(socket.socket(fileno=listener[0]), self._running().namespaces)
        return sandbox

    def _spawn(self) -> _Spare:
        group = self._groups.take() if self._groups is not None else None
        members = [group.open_members()] if group is not None else []
        try:
            return _Spare(self._running().spawn(members), group)
        finally:
            close_all(members)

    def _fill_spares(self) -> None:
        while len(self._spares) < _SPARES:
            self._spares.append(self._spawn())

    def _drop(self, spare: _Spare) -> None:
        spare.channel.close()
        self._give_back(spare.group)

    def _forget(self, sandbox: LocalSandbox, group: MemoryGroup | None) -> None:
        self._opened.discard(sandbox)
        self._give_back(group)

    def _give_back(self, group: MemoryGroup | None) -> None:
        if group is not None and self._groups is not None:
            self._groups.give_back(group)

    def _running(self) -> Launcher:
        if self._launcher is None:
            raise SandboxError(Cause.SANDBOX_LOST, "local sandbox: the backend is not started")
        return self._launcher

    async def stop(self) -> None:
        """Close every sandbox still open, and end the launcher."""
        for sandbox in list(self._opened):
            await sandbox.close()
        for sandbox in list(self._opened):
            await sandbox.gone()
        while self._spares:
            self._drop(self._spares.popleft())
        if self._launcher is not None:
            self._launcher.stop()
            self._launcher = None
        if self._groups is not None:
            await self._groups.close()

    @property
    def left(self) -> str:
        return ""  # they end with this process, at the latest


def _check_mount(mount: Mount) -> None:
    if not Path(mount.source).exists():
        raise UserError(f"local sandbox: {mount.source} is to be mounted, and is not there")
    target = posixpath.normpath(mount.target)
    inside = (layout.WORKDIR, layout.OUTDIR, *layout.VOLATILE, "/proc", "/dev")
    if (
        target != mount.target
        or not target.startswith("/")
        or any(f"{target}/".startswith(f"{folder}/") for folder in inside)
    ):
        raise UserError(
            f"local sandbox: {mount.source} cannot be mounted at {mount.target}: take an absolute path "
            f"outside of {', '.join(inside)}, such as /opt/agent"
        )

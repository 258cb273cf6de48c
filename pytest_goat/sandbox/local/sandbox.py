"""A local sandbox as the harness has it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_goat.errors import Cause, SandboxError
from pytest_goat.sandbox.base import MB, ExecResult, Extra, File, NoRoom, SandboxSpec, Taken, time_is_over
from pytest_goat.sandbox.local import collector, layout, syscalls, wire
from pytest_goat.sandbox.local.cgroup import MemoryGroup
from pytest_goat.sandbox.local.channel import Channel
from pytest_goat.sandbox.local.identity import acting_as
from pytest_goat.sandbox.local.streams import Input, Output

_PATH = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
_GRACE = 10.0
"""Seconds after its deadline that a command's end may take to be told."""
_SLICE = 0.001
"""Seconds that file work may hold the event loop."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an open sandbox consists of, as the harness holds it."""

    channel: Channel
    box: int
    """Descriptor of the folder that holds workspace and records."""
    process: int
    """Process descriptor of its init."""
    group: MemoryGroup | None


class LocalSandbox:
    """Holds three descriptors, and three more while a command runs. One command runs at a time."""

    def __init__(
        self,
        parts: Parts,
        answer: wire.Message,
        spec: SandboxSpec,
        on_gone: Callable[[LocalSandbox, MemoryGroup | None], None],
    ) -> None:
        self._channel, self._box, self._process = parts.channel, parts.box, parts.process
        self._group = parts.group
        self._root: str = answer["root"]
        self._owner: int = answer["owner"]
        self._limits, self._on_gone = spec.limits, on_gone
        self._namespaces = not self._root
        # Where nothing is mounted, a command is given the place on the host instead.
        self._places = {} if self._namespaces else {mount.target: mount.source for mount in spec.mounts}
        self._open = True
        self._turn = asyncio.Lock()
        self._gone = asyncio.Event()

    @property
    def workdir(self) -> str:
        return self._root + layout.WORKDIR

    @property
    def outdir(self) -> str:
        return self._root + layout.OUTDIR

    async def put(self, files: Mapping[str, File | None], root: str | None = None) -> None:
        with self._folder(root) as folder:
            await self._sliced(collector.put(folder, files))

    async def take(
        self,
        paths: Sequence[str] | None = None,
        root: str | None = None,
        *,
        max_bytes: int = 64 * MB,
        max_files: int = 10_000,
    ) -> Taken:
        haul = collector.Haul(max_bytes, max_files)
        with self._folder(root) as folder:
            await self._sliced(collector.take(folder, paths, haul))
        return Taken(haul.files, tuple(haul.refused), haul.truncated)

    @contextlib.contextmanager
    def _folder(self, root: str | None) -> Iterator[int]:
        self._check_open()
        if root not in (None, self.workdir, self.outdir):
            raise ValueError(f"root {root!r}: neither workdir nor outdir")
        name = (layout.OUTDIR if root == self.outdir else layout.WORKDIR)[1:]
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._box)
        try:
            yield folder
        except OSError as error:
            raise NoRoom(f"local sandbox: {error}") from error
        finally:
            os.close(folder)

    async def _sliced(self, steps: Generator[None]) -> None:
        """Do file work as the sandbox's user, and let the event loop have a turn now and then."""
        with contextlib.closing(steps):
            while True:
                with acting_as(self._owner):
                    until = time.perf_counter() + _SLICE
                    for _ in steps:
                        if time.perf_counter() > until:
                            break
                    else:
                        return
                await asyncio.sleep(0)

    async def exec(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        extra: Extra | None = None,
    ) -> ExecResult:
        request = {
            "argv": [self._place(part) for part in argv],
            "env": self._environment() | {name: self._place(value) for name, value in (env or {}).items()},
            "cwd": cwd or self.workdir,
            "timeout": timeout if extra is None else None,
        }
        async with self._turn:
            self._check_open()
            source, out, err = Input(stdin), Output(self._limits.output), Output(self._limits.output)
            try:
                async with self._bounded(timeout, extra):
                    ended = await self._run(request, source, out, err)
                    return self._result(ended, await out.all(), await err.all())
            except TimeoutError as error:
                await self.close()
                raise SandboxError(
                    Cause.SANDBOX_LOST, "local sandbox: it does not answer any more"
                ) from error
            except BaseException:
                await self.close()  # a command may still run: nothing more can be promised of this sandbox
                raise
            finally:
                for stream in (source, out, err):
                    stream.close()

    @contextlib.asynccontextmanager
    async def _bounded(self, timeout: float, extra: Extra | None) -> AsyncIterator[None]:
        """See to it that what is done here ends shortly after the command's time. Raises `TimeoutError`."""
        if extra is None:
            async with asyncio.timeout(timeout + _GRACE):
                yield
            return
        async with asyncio.timeout(None) as bound:
            ending = asyncio.create_task(self._end_in_time(timeout, extra, bound))
            try:
                yield
            finally:
                ending.cancel()

    async def _end_in_time(self, timeout: float, extra: Extra, bound: asyncio.Timeout) -> None:
        await time_is_over(timeout, extra)
        bound.reschedule(asyncio.get_running_loop().time() + _GRACE)
        self._channel.send({"stop": True})

    async def _run(self, request: wire.Message, source: Input, out: Output, err: Output) -> wire.Message:
        theirs = (source.reader, out.writer, err.writer)
        try:
            self._channel.send(request, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        answer, _ = await self._channel.receive()
        return answer

    def _result(self, ended: wire.Message, out: tuple[bytes, bool], err: tuple[bytes, bool]) -> ExecResult:
        exit_code, reason = ended["exit_code"], ended["reason"]
        limit = "" if reason == "timeout" else reason
        if not limit and exit_code != 0 and self._group is not None and self._group.killed():
            limit = "memory"  # the kernel has ended a part of the command for it, and the command failed
        return ExecResult(
            exit_code=exit_code,
            stdout=out[0],
            stderr=err[0],
            duration=ended["duration"],
            timed_out=reason == "timeout",
            limit=limit,
            truncated=out[1] or err[1],
        )

    def _environment(self) -> dict[str, str]:
        home, tmp = (self._root + folder for folder in (layout.HOME, layout.TMP))
        return {"PATH": _PATH, "HOME": home, "TMPDIR": tmp, "LANG": "C.UTF-8"}

    def _place(self, value: str) -> str:
        for target, source in self._places.items():
            if value == target or value.startswith(f"{target}/"):
                return source + value[len(target) :]
        return value

    def _check_open(self) -> None:
        if not self._open:
            raise SandboxError(Cause.SANDBOX_LOST, "local sandbox: it is closed")

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._channel.close()
            os.close(self._box)
            asyncio.get_running_loop().add_reader(self._process, self._bury)
            if self._namespaces:
                syscalls.pidfd_kill(
                    self._process
                )  # and with process 1 the kernel ends everything: nobody has to wait
        if not self._namespaces:
            await self.gone()

    async def gone(self) -> None:
        """Wait until nothing of the closed sandbox is left."""
        try:
            await asyncio.wait_for(self._gone.wait(), _GRACE)
        except TimeoutError:
            syscalls.pidfd_kill(self._process)
            await self._gone.wait()

    def _bury(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process)
        os.close(self._process)
        self._gone.set()
        self._on_gone(self, self._group)

"""A sandbox on Modal as the harness has it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_goat.cloud.client import within
from pytest_goat.cloud.errors import sandbox_error
from pytest_goat.errors import Cause, GoatError, SandboxError
from pytest_goat.sandbox.base import (
    MB,
    ExecResult,
    Extra,
    File,
    NoRoom,
    SandboxSpec,
    Taken,
    parts_of,
    time_is_over,
)
from pytest_goat.sandbox.modal import wire
from pytest_goat.sandbox.modal.images import RUN
from pytest_goat.sandbox.modal.inside.layout import OUTDIR, WORKDIR
from pytest_goat.sandbox.modal.known import Known

if TYPE_CHECKING:
    from modal import Sandbox
    from modal.container_process import ContainerProcess

_CHUNK = 4 * MB
"""Bytes of one write to stdin; the SDK takes 16 MB at most."""
_MAX_FILES = 10_000
_TAKE_TIMEOUT = 60.0
_MARGIN = 60
"""Seconds after our own deadline at which Modal ends a command of which we know nothing any more."""
_TAIL = 1000
"""Characters of what the sandbox said that are passed on."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which we wait no longer."""

    create: float = 120.0
    start: float = 300.0
    """Of a command; the first one waits until the machine is up."""
    answer: float = 30.0
    """Beyond the time that the command itself has."""
    look: float = 5.0
    """To find out what became of a sandbox that was lost."""
    end: float = 6.0
    """Of a sandbox, and of all of them at once."""


class ModalSandbox:
    """Holds one sandbox of Modal's. One command runs at a time."""

    def __init__(
        self,
        box: Sandbox,
        spec: SandboxSpec,
        *,
        prefetch: int,
        deadlines: Deadlines,
        on_started: Callable[[], None],
        end: Callable[[Sandbox], Awaitable[None]],
    ) -> None:
        """`prefetch`: bytes of each of `workdir` and `outdir` that come with the reply to a command.

        `on_started` is called once, when the first command has started, or when none will.
        """
        self._box, self._end = box, end
        self._limits, self._lifetime = spec.limits, spec.lifetime
        self._prefetch, self._deadlines, self._on_started = prefetch, deadlines, on_started
        self._turn = asyncio.Lock()
        self._pending: list[wire.Put] = []
        self._known = {WORKDIR: Known(), OUTDIR: Known()}
        self._used = 0
        self._call: asyncio.Future[wire.Reply] | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def workdir(self) -> str:
        return WORKDIR

    @property
    def outdir(self) -> str:
        return OUTDIR

    async def put(self, files: Mapping[str, File | None], root: str | None = None) -> None:
        """Keeps them back: they travel with the next command. A broken disk limit shows at once."""
        self._check_open()
        place = _place(root)
        puts = [wire.Put(place, "/".join(parts_of(path)), file) for path, file in files.items()]
        size = sum(len(put.file.data) for put in puts if put.file is not None)
        if size and self._used + size > self._limits.disk:
            limit = self._limits.disk // MB
            raise NoRoom(f"modal: the files do not fit into the disk limit of {limit} MB")
        self._used += size
        self._pending += puts
        for put in puts:
            self._known[place].put(put.path, put.file)

    async def take(
        self,
        paths: Sequence[str] | None = None,
        root: str | None = None,
        *,
        max_bytes: int = 64 * MB,
        max_files: int = _MAX_FILES,
    ) -> Taken:
        place = _place(root)
        wanted = None if paths is None else ["/".join(parts_of(path)) for path in paths]
        async with self._turn:
            self._check_open()
            if self._known[place].complete:
                return self._known[place].take(wanted, max_bytes, max_files)
            takes = [wire.Take(place, wanted, max_bytes, max_files)]
            reply = await self._ask(None, takes, _TAKE_TIMEOUT)
            return reply.hauls[0].taken()

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
        # With more time to be had, the host says when it is over, and the sandbox only sees to it in the end.
        longest = timeout if extra is None else max(timeout, self._lifetime)
        command = wire.Command(argv, stdin, dict(env or {}), cwd or WORKDIR, longest, extra is not None)
        takes = [wire.Take(root, None, self._prefetch, _MAX_FILES) for root in self._known if self._prefetch]
        async with self._turn:
            self._check_open()
            reply = await self._ask(command, takes, timeout, extra)
            for take, haul in zip(takes, reply.hauls, strict=True):
                self._known[take.root] = Known(haul)
            if reply.result is None or not reply.clean:
                await self.close()
                raise SandboxError(
                    Cause.SANDBOX_LOST, "modal: what the command left running could not be ended"
                )
            return reply.result

    async def _ask(
        self,
        command: wire.Command | None,
        takes: Sequence[wire.Take],
        timeout: float,
        extra: Extra | None = None,
    ) -> wire.Reply:
        """Send what is pending with `command` and `takes`. After any error but a refusal we are closed."""
        message = wire.request(self._pending, command, takes, self._limits)
        self._pending = []
        frame = wire.Frame(wire.most(takes, self._limits))
        self._call = asyncio.ensure_future(self._exchange(message, frame, timeout, extra))
        try:
            reply = await self._call
        except asyncio.CancelledError:
            closed = self._ending is not None
            await self.close()  # a command may still run: nothing more can be promised of this sandbox
            task = asyncio.current_task()
            if closed and task is not None and not task.cancelling():
                self._check_open()
            raise
        except GoatError:
            await self.close()
            raise
        except Exception as error:
            await self.close()
            raise sandbox_error(error, "the sandbox was lost") from error
        if reply.refusal:
            self._known = {root: Known() for root in self._known}
            raise _refused(reply)
        if len(reply.hauls) != len(takes):
            await self.close()
            raise wire.BadReply("is not to what was asked")
        self._used = reply.used
        return reply

    async def _exchange(
        self, message: bytes, frame: wire.Frame, timeout: float, extra: Extra | None
    ) -> wire.Reply:
        longest = timeout if extra is None else max(timeout, self._lifetime)
        seconds = longest + self._deadlines.answer
        process = await within(
            self._box.exec.aio(*RUN, text=False, timeout=math.ceil(seconds) + _MARGIN),
            self._deadlines.start,
            "starting a command",
        )
        self._set_started()
        talk = self._converse(process, message, frame, to_its_end=extra is None)
        if extra is None:
            reply = await within(talk, seconds, "the answer to a command")
        else:
            reply = await self._end_in_time(process, talk, time_is_over(timeout, extra))
        if reply is None:
            raise await self._lost(process)
        return reply

    async def _end_in_time(
        self,
        process: ContainerProcess[bytes],
        talk: Coroutine[None, None, wire.Reply | None],
        over: Coroutine[None, None, None],
    ) -> wire.Reply | None:
        """The reply to a command that is told when its time is `over`, in one call more."""
        from modal import Error

        talking, watching = asyncio.ensure_future(talk), asyncio.ensure_future(over)
        try:
            await asyncio.wait({talking, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                with contextlib.suppress(Error, ValueError):  # it may have ended just now
                    process.stdin.write_eof()
                    await within(process.stdin.drain.aio(), self._deadlines.answer, "ending a command")
            return await within(talking, self._deadlines.answer, "the answer to a command")
        finally:
            talking.cancel()
            watching.cancel()

    async def _converse(
        self, process: ContainerProcess[bytes], message: bytes, frame: wire.Frame, *, to_its_end: bool
    ) -> wire.Reply | None:
        """Send `message`, `to_its_end` if nothing else is to be said, and hear the reply."""
        from modal import Error

        # Nobody may be there to read it; what is there to read then tells.
        with contextlib.suppress(Error, ValueError):
            for start in range(0, len(message), _CHUNK):
                process.stdin.write(message[start : start + _CHUNK])
                if to_its_end and start + _CHUNK >= len(message):
                    process.stdin.write_eof()
                await process.stdin.drain.aio()
        async for chunk in process.stdout:
            frame.feed(chunk)
        return frame.reply()

    async def _lost(self, process: ContainerProcess[bytes]) -> GoatError:
        """Why a reply ended early. Without an end it is the only sign: the stream ends as any other does."""
        try:
            async with asyncio.timeout(self._deadlines.look):
                ended = await self._box.poll.aio()
                if ended is not None:
                    await self._box.wait.aio()  # raises where Modal tells why
                    why = f"it ended with exit code {ended}: out of memory, or taken away by Modal"
                    return SandboxError(Cause.SANDBOX_LOST, f"modal: the sandbox was lost: {why}")
                code = await process.wait.aio()
                said = (await process.stderr.read.aio()).decode(errors="replace").strip()[-_TAIL:]
        except Exception as error:
            return sandbox_error(error, "the sandbox was lost")
        if code == 127:
            return SandboxError(
                Cause.INTERNAL,
                "modal: the image has no python3, which a sandbox needs\n"
                "  Add it in the task's `setup:`, as in `apt-get update && apt-get install -y python3`.",
            )
        return SandboxError(
            Cause.SANDBOX_LOST, f"modal: the sandbox did not answer (exit code {code}): {said}"
        )

    def _set_started(self) -> None:
        on_started, self._on_started = self._on_started, _nothing
        on_started()

    def _check_open(self) -> None:
        if self._ending is not None:
            raise SandboxError(Cause.SANDBOX_LOST, "modal: the sandbox is closed")

    async def close(self) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(self._box))
            self._set_started()
            if self._call is not None:
                self._call.cancel()
        await asyncio.shield(self._ending)


def _nothing() -> None:
    pass


def _place(root: str | None) -> str:
    if root not in (None, WORKDIR, OUTDIR):
        raise ValueError(f"root {root!r}: neither workdir nor outdir")
    return root or WORKDIR


def _refused(reply: wire.Reply) -> SandboxError:
    if reply.refusal == "image":
        return SandboxError(Cause.INTERNAL, f"modal: the image cannot be used: {reply.message}")
    return NoRoom(f"modal: a file could not be put: {reply.message}")

"""One sandbox: its life from creation to its result, and the commands in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

from tests.modal_server.box_exec import Command, Exec, Machine
from tests.modal_server.clients import unsigned_jwt
from tests.modal_server.state import Record, State
from tests.modal_server.wire import not_found

Result = api_pb2.GenericResult
HOME = "/root"


@dataclass(kw_only=True)
class Sandbox(Record):
    """Lives from `begin` until `finish`, which its timers, its entrypoint or its machine may call too."""

    app: str
    """Id."""
    spec: api_pb2.Sandbox
    env: Mapping[str, str] = field(repr=False)
    """Of every command, before what the command itself is given."""
    cwd: str
    tags: dict[str, str]
    machine: Machine
    result: Result = field(default_factory=Result, init=False)
    """Without a status while it runs."""
    ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set when there is a result and everything in it is dead."""
    execs: dict[str, Exec] = field(default_factory=dict, init=False)
    entrypoint: Exec | None = field(default=None, init=False)
    jwt: str = field(default="", init=False, repr=False)
    """What opens the sandbox's task command router."""

    def __post_init__(self) -> None:
        self._timers: list[asyncio.TimerHandle] = []
        self._active = time.monotonic()
        self._watchers: set[asyncio.Task[None]] = set()
        self.jwt = unsigned_jwt(sub=self.id, iat=self.created)

    @property
    def alive(self) -> bool:
        return not self.result.status

    @property
    def task_id(self) -> str:
        """The SDK takes `ta-...V` for the task of a sandbox of the second generation."""
        return f"ta-{self.id.removeprefix('sb-')}"

    def begin(self) -> None:
        """Start its clocks and its entrypoint, if it has one."""
        self._after(self.spec.timeout_secs, Result.GENERIC_STATUS_TIMEOUT)
        if self.spec.HasField("idle_timeout_secs"):
            self._watch(self._end_when_idle(self.spec.idle_timeout_secs))
        if self.spec.entrypoint_args:
            command = Command(list(self.spec.entrypoint_args), self.env, self.cwd, lossy=True)
            self.entrypoint = self.machine.start(command)
            self._watch(self._end_with(self.entrypoint))

    def start(self, exec_id: str, command: Command, timeout: float) -> None:
        """Start a command, once for each id. `timeout` is in seconds; 0: none."""
        if exec_id in self.execs:
            return
        started = self.execs[exec_id] = self.machine.start(command)
        self._watch(self._note_end(started))
        if timeout:
            self._timers.append(asyncio.get_running_loop().call_later(timeout, _time_out, started))

    def touch(self) -> None:
        """Something was written to a command: the sandbox is not idle."""
        self._active = time.monotonic()

    def finish(self, status: Result.GenericStatus.ValueType, exit_code: int = 0) -> None:
        """End it with this result; one that has a result already keeps it."""
        if not self.alive:
            return
        self.result = Result(status=status, exitcode=exit_code)
        for timer in self._timers:
            timer.cancel()
        for started in self.execs.values():
            started.lose()
        if self.entrypoint is not None:
            self.entrypoint.finish(exit_code)
        self._watch(self._bury())

    async def _bury(self) -> None:
        await self.machine.kill()
        self.execs.clear()
        self.ended.set()

    def _after(self, seconds: float, status: Result.GenericStatus.ValueType) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self.finish, status))

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _note_end(self, started: Exec) -> None:
        await started.done.wait()
        self.touch()

    async def _end_with(self, entrypoint: Exec) -> None:
        await entrypoint.done.wait()
        code = entrypoint.status if entrypoint.status >= 0 else 128 - entrypoint.status
        self.finish(Result.GENERIC_STATUS_FAILURE if code else Result.GENERIC_STATUS_SUCCESS, code)

    async def _end_when_idle(self, seconds: float) -> None:
        """Commands that run and writes to them are activity; the entrypoint is not."""
        while self.alive:
            if any(started.running for started in self.execs.values()):
                self.touch()
            left = self._active + seconds - time.monotonic()
            if left <= 0:
                self.finish(Result.GENERIC_STATUS_IDLE_TIMEOUT)
            await asyncio.sleep(max(left, 0))


def _time_out(started: Exec) -> None:
    if started.running:
        started.timed_out = True
        started.kill()


def need(state: State, sandbox_id: str) -> Sandbox:
    """Raises NOT_FOUND when there is none of this id."""
    sandbox: Sandbox | None = state.sandboxes.get(sandbox_id)
    if sandbox is None:
        raise not_found(f"Sandbox {sandbox_id!r} not found")
    return sandbox


def of_task(state: State, task_id: str) -> Sandbox:
    """The sandbox of a task. Raises NOT_FOUND when there is none."""
    return need(state, f"sb-{task_id.removeprefix('ta-')}")

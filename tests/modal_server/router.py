"""The task command router: commands in sandboxes, their standard streams, and how they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as router_pb2

from tests.modal_server.box_exec import Command, Exec
from tests.modal_server.sandbox import Sandbox, of_task
from tests.modal_server.sandboxes import secret_sources_env
from tests.modal_server.state import Call, State
from tests.modal_server.wire import conflict, not_found

PIPE = router_pb2.TASK_EXEC_STDOUT_CONFIG_PIPE
STDERR_PIPE = router_pb2.TASK_EXEC_STDERR_CONFIG_PIPE
STDERR_TO_STDOUT = router_pb2.TASK_EXEC_STDERR_CONFIG_STDOUT
PROBE_INTERVAL = 0.1
"""Seconds between two probes of a sandbox that says nothing of it."""


class Router:
    """What it is asked about a sandbox that has ended is NOT_FOUND, but for the output of its entrypoint."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _sandbox(self, task_id: str, call: Call) -> Sandbox:
        sandbox = of_task(self._state, task_id)
        if call.metadata.get("authorization") != f"Bearer {sandbox.jwt}":
            raise GRPCError(Status.UNAUTHENTICATED, "the token is not one of this task")
        return sandbox

    def _living(self, task_id: str, call: Call) -> Sandbox:
        sandbox = self._sandbox(task_id, call)
        if not sandbox.alive:
            raise _gone(sandbox)
        return sandbox

    def _exec(self, task_id: str, exec_id: str, call: Call) -> tuple[Sandbox, Exec]:
        sandbox = self._living(task_id, call)
        found = sandbox.execs.get(exec_id)
        if found is None:
            raise not_found(f"exec {exec_id} not found in task {task_id}")
        return sandbox, found

    async def TaskExecStart(
        self, request: router_pb2.TaskExecStartRequest, call: Call
    ) -> router_pb2.TaskExecStartResponse:
        sandbox = self._living(request.task_id, call)
        if request.HasField("pty_info") or request.container_id:
            raise GRPCError(Status.UNIMPLEMENTED, "tests/modal_server: no terminals and no sidecars")
        command = Command(
            list(request.command_args),
            {**sandbox.env, **secret_sources_env(self._state, request.secret_sources)},
            request.workdir or sandbox.cwd,
            keep_stdout=request.stdout_config == PIPE,
            keep_stderr=request.stderr_config == STDERR_PIPE,
            merge=request.stderr_config == STDERR_TO_STDOUT,
        )
        sandbox.start(request.exec_id, command, request.timeout_secs)
        return router_pb2.TaskExecStartResponse()

    async def TaskExecStdinWrite(
        self, request: router_pb2.TaskExecStdinWriteRequest, call: Call
    ) -> router_pb2.TaskExecStdinWriteResponse:
        sandbox, running = self._exec(request.task_id, request.exec_id, call)
        sandbox.touch()
        running.stdin.write(request.offset, request.data, eof=request.eof)
        return router_pb2.TaskExecStdinWriteResponse()

    async def TaskExecStdioRead(
        self, request: router_pb2.TaskExecStdioReadRequest, call: Call
    ) -> AsyncIterator[router_pb2.TaskExecStdioReadResponse]:
        """Ends with the stream, and early but without an error when the sandbox is gone."""
        _, running = self._exec(request.task_id, request.exec_id, call)
        of_stdout = request.file_descriptor == router_pb2.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT
        output = running.stdout if of_stdout else running.stderr
        async for _, chunk in output.read(request.offset):
            yield router_pb2.TaskExecStdioReadResponse(data=chunk)

    async def TaskExecWait(
        self, request: router_pb2.TaskExecWaitRequest, call: Call
    ) -> router_pb2.TaskExecWaitResponse:
        """One that ran out of time has no status to tell: the SDK makes that -1 by its own clock."""
        sandbox, running = self._exec(request.task_id, request.exec_id, call)
        await running.done.wait()
        if running.lost:
            raise _gone(sandbox)
        if running.timed_out:
            raise GRPCError(Status.DEADLINE_EXCEEDED, f"exec {request.exec_id} timed out")
        if running.status < 0:
            return router_pb2.TaskExecWaitResponse(signal=-running.status)
        return router_pb2.TaskExecWaitResponse(code=running.status)

    async def TaskExecPoll(
        self, request: router_pb2.TaskExecPollRequest, call: Call
    ) -> router_pb2.TaskExecPollResponse:
        _, running = self._exec(request.task_id, request.exec_id, call)
        if running.running:
            return router_pb2.TaskExecPollResponse()
        if running.timed_out:
            raise GRPCError(Status.DEADLINE_EXCEEDED, f"exec {request.exec_id} timed out")
        if running.status < 0:
            return router_pb2.TaskExecPollResponse(signal=-running.status)
        return router_pb2.TaskExecPollResponse(code=running.status)

    async def SandboxStdioReadV2(
        self, request: router_pb2.SandboxStdioReadV2Request, call: Call
    ) -> AsyncIterator[router_pb2.SandboxStdioReadV2Response]:
        entrypoint = self._entrypoint(request.task_id, call)
        of_stdout = request.file_descriptor == router_pb2.SANDBOX_STDIO_FILE_DESCRIPTOR_STDOUT
        output = entrypoint.stdout if of_stdout else entrypoint.stderr
        async for offset, chunk in output.read(request.offset):
            yield router_pb2.SandboxStdioReadV2Response(data=chunk, starting_offset=offset)

    async def SandboxStdinWriteV2(
        self, request: router_pb2.SandboxStdinWriteV2Request, call: Call
    ) -> router_pb2.SandboxStdinWriteV2Response:
        sandbox = self._living(request.task_id, call)
        sandbox.touch()
        self._entrypoint(request.task_id, call).stdin.write(request.offset, request.data, eof=request.eof)
        return router_pb2.SandboxStdinWriteV2Response()

    def _entrypoint(self, task_id: str, call: Call) -> Exec:
        entrypoint = self._sandbox(task_id, call).entrypoint
        if entrypoint is None:
            raise conflict("the sandbox has no entrypoint")
        return entrypoint

    async def SandboxWaitUntilReady(
        self, request: router_pb2.SandboxWaitUntilReadyTcrRequest, call: Call
    ) -> router_pb2.SandboxWaitUntilReadyTcrResponse:
        """Run the sandbox's probe until it ends well. The SDK bounds the time."""
        sandbox = self._living(request.task_id, call)
        probe = sandbox.spec.readiness_probe
        if not probe.exec_command.argv:
            raise GRPCError(Status.UNIMPLEMENTED, "tests/modal_server: no readiness but by a command")
        command = Command(list(probe.exec_command.argv), sandbox.env, sandbox.cwd)
        while sandbox.alive:
            tried = sandbox.machine.start(command)
            await tried.done.wait()
            if tried.status == 0:
                return router_pb2.SandboxWaitUntilReadyTcrResponse(ready_at=time.time())
            await asyncio.sleep(probe.interval_ms / 1000 or PROBE_INTERVAL)
        raise _gone(sandbox)

    async def TaskReloadVolumes(
        self, request: router_pb2.TaskReloadVolumesRequest, call: Call
    ) -> router_pb2.TaskReloadVolumesResponse:
        """Volumes are folders of the host here: what is there is always the latest."""
        self._living(request.task_id, call)
        return router_pb2.TaskReloadVolumesResponse()


def _gone(sandbox: Sandbox) -> GRPCError:
    return not_found(f"task {sandbox.task_id} is not running")

"""Sandboxes, as the control plane has them: made, found, tagged, waited for, ended.

The SDK makes those with a GPU by the RPCs of the first generation, and all others by those of the second.
Here they differ in their ids alone, by which the SDK tells them apart too.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server.box import Box
from tests.modal_server.box_exec import Machine
from tests.modal_server.box_factory import PATH, Boxes, VolumeMount, Wanted
from tests.modal_server.box_line import BoxError
from tests.modal_server.box_look import look
from tests.modal_server.box_ways import permitted_ports
from tests.modal_server.sandbox import HOME, Result, Sandbox, need, of_task
from tests.modal_server.sandbox_limits import Limiter
from tests.modal_server.sandbox_rows import row
from tests.modal_server.simulate import SimulatedMachine, Simulation
from tests.modal_server.state import Call, Image, State
from tests.modal_server.wire import Empty, conflict, exists, invalid, not_found

PAGE = 100
"""Sandboxes in one answer to a list request."""

UNSUPPORTED = {
    "cloud_bucket_mounts",
    "experimental_outbound_policy",
    "nfs_mounts",
    "open_ports",
    "proxy_id",
    "pty_info",
}


class Sandboxes:
    def __init__(self, state: State) -> None:
        self._state = state
        self._simulation = Simulation.parse(state.simulate) if state.simulate else None
        self._boxes = Boxes()
        self._limiter = Limiter(state.limits)
        self._making = 0

    async def SandboxCreateV2(
        self, request: api_pb2.SandboxCreateV2Request, call: Call
    ) -> api_pb2.SandboxCreateV2Response:
        env = secret_sources_env(self._state, request.secret_sources)
        sandbox_id = self._state.new_id("sb") + "V"
        sandbox = await self._create(sandbox_id, request.app_id, request.definition, env, request.tags)
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=_metadata(sandbox),
            command_router_access=api_pb2.CommandRouterAccess(jwt=sandbox.jwt, url=self._state.url),
        )

    async def SandboxCreate(
        self, request: api_pb2.SandboxCreateRequest, call: Call
    ) -> api_pb2.SandboxCreateResponse:
        env = self._state.secret_env(request.definition.secret_ids)
        sandbox_id = self._state.new_id("sb")
        sandbox = await self._create(sandbox_id, request.app_id, request.definition, env, request.tags)
        return api_pb2.SandboxCreateResponse(sandbox_id=sandbox.id, metadata=_metadata(sandbox))

    async def _create(
        self,
        sandbox_id: str,
        app_id: str,
        spec: api_pb2.Sandbox,
        env: dict[str, str],
        tags: Iterable[api_pb2.SandboxTag],
    ) -> Sandbox:
        app = self._state.apps.need(app_id)
        image = self._image(spec)
        _refuse_unsupported(spec)
        if spec.name and self._named(app_id, spec.name, finished=False):
            raise exists(f"Sandbox with name '{spec.name}' already exists")
        self._limiter.admit(self._making + sum(1 for _ in self._alive()))
        self._making += 1
        try:
            machine = await self._machine(spec, image)
        finally:
            self._making -= 1
        given = {"PATH": PATH, "HOME": HOME, "LANG": "C.UTF-8", **image.env, "MODAL_SANDBOX_ID": sandbox_id}
        sandbox = Sandbox(
            id=sandbox_id,
            name=spec.name,
            environment=app.environment,
            created=self._state.now(),
            app=app_id,
            spec=spec,
            env={**given, **env},
            cwd=spec.workdir or image.workdir or HOME,
            tags=_tags(tags),
            machine=machine,
        )
        self._state.sandboxes[sandbox_id] = sandbox
        if isinstance(machine, Box):
            machine.on_death = lambda: sandbox.finish(Result.GENERIC_STATUS_INTERNAL_FAILURE)
        sandbox.begin()
        return sandbox

    def _image(self, spec: api_pb2.Sandbox) -> Image:
        image = self._state.images.need(spec.image_id)
        if image.result.status != Result.GENERIC_STATUS_SUCCESS:
            raise conflict(f"Image {image.id} is not built")
        return image

    async def _machine(self, spec: api_pb2.Sandbox, image: Image) -> Machine:
        if self._simulation is not None:
            return SimulatedMachine(self._simulation)
        files = dict(image.files)
        for mount_id in spec.mount_ids:
            files.update(self._state.mounts.need(mount_id).files)
        wanted = Wanted(
            files={posixpath.normpath(f"/{path}"): placed for path, placed in files.items()},
            folders=[folder for folder in (image.workdir, spec.workdir) if folder],
            volumes=[self._volume(mount) for mount in spec.volume_mounts],
            ports=permitted_ports(spec.network_access, (f.url for f in self._state.functions.values())),
        )
        try:
            return await self._boxes.open(wanted)
        except BoxError as error:
            raise conflict(str(error)) from error

    def _volume(self, mount: api_pb2.VolumeMount) -> VolumeMount:
        folder = Path(self._state.volumes.need(mount.volume_id).folder)
        if mount.sub_path:
            folder /= posixpath.normpath(f"/{mount.sub_path}")[1:]
            folder.mkdir(parents=True, exist_ok=True)
        return VolumeMount(mount.mount_path, folder, mount.read_only)

    def _alive(self) -> Iterable[Sandbox]:
        return (sandbox for sandbox in self._state.sandboxes.values() if sandbox.alive)

    def _named(self, app_id: str, name: str, *, finished: bool) -> Sandbox | None:
        """The sandbox of this name in an app that lives, or the newest, if finished ones count."""
        found = [s for s in self._state.sandboxes.values() if (s.app, s.name) == (app_id, name)]
        return max(
            (s for s in found if s.alive or finished), key=lambda s: (s.alive, s.created), default=None
        )

    async def SandboxWaitV2(
        self, request: api_pb2.SandboxWaitRequest, call: Call
    ) -> api_pb2.SandboxWaitResponse:
        sandbox = need(self._state, request.sandbox_id)
        if request.timeout and not sandbox.ended.is_set():
            with contextlib.suppress(TimeoutError):  # the SDK asks again
                await asyncio.wait_for(sandbox.ended.wait(), request.timeout)
        return api_pb2.SandboxWaitResponse(result=sandbox.result, metadata=_metadata(sandbox))

    async def SandboxTerminateV2(
        self, request: api_pb2.SandboxTerminateRequest, call: Call
    ) -> api_pb2.SandboxTerminateResponse:
        sandbox = need(self._state, request.sandbox_id)
        existing = None if sandbox.alive else sandbox.result
        sandbox.finish(Result.GENERIC_STATUS_TERMINATED)
        await sandbox.ended.wait()
        return api_pb2.SandboxTerminateResponse(existing_result=existing)

    async def SandboxGetTaskIdV2(
        self, request: api_pb2.SandboxGetTaskIdRequest, call: Call
    ) -> api_pb2.SandboxGetTaskIdResponse:
        sandbox = need(self._state, request.sandbox_id)
        result = None if sandbox.alive else sandbox.result
        return api_pb2.SandboxGetTaskIdResponse(task_id=sandbox.task_id, task_result=result)

    async def SandboxGetCommandRouterAccess(
        self, request: api_pb2.SandboxGetCommandRouterAccessRequest, call: Call
    ) -> api_pb2.SandboxGetCommandRouterAccessResponse:
        if request.WhichOneof("target") == "task_id":
            sandbox = of_task(self._state, request.task_id)
        else:
            sandbox = need(self._state, request.sandbox_id)
        return api_pb2.SandboxGetCommandRouterAccessResponse(jwt=sandbox.jwt, url=self._state.url)

    async def TaskGetCommandRouterAccess(
        self, request: api_pb2.TaskGetCommandRouterAccessRequest, call: Call
    ) -> api_pb2.TaskGetCommandRouterAccessResponse:
        sandbox = of_task(self._state, request.task_id)
        return api_pb2.TaskGetCommandRouterAccessResponse(jwt=sandbox.jwt, url=self._state.url)

    async def SandboxListV2(
        self, request: api_pb2.SandboxListRequest, call: Call
    ) -> api_pb2.SandboxListResponse:
        """Newest first, a page at a time; the SDK asks on from the last one until a page is empty."""
        wanted = _tags(request.tags).items()
        before = request.before_timestamp or float("inf")
        environment = "" if request.app_id else self._state.environment(request.environment_name)
        found = [
            sandbox
            for sandbox in self._state.sandboxes.values()
            if (sandbox.alive or request.include_finished)
            and sandbox.created < before
            and wanted <= sandbox.tags.items()
            and (request.app_id == sandbox.app or environment == sandbox.environment)
        ]
        found.sort(key=lambda sandbox: sandbox.created, reverse=True)
        return api_pb2.SandboxListResponse(sandboxes=[_info(sandbox) for sandbox in found[:PAGE]])

    async def SandboxTagsGetV2(
        self, request: api_pb2.SandboxTagsGetRequest, call: Call
    ) -> api_pb2.SandboxTagsGetResponse:
        return api_pb2.SandboxTagsGetResponse(tags=_tag_protos(need(self._state, request.sandbox_id)))

    async def SandboxTagsSetV2(self, request: api_pb2.SandboxTagsSetRequest, call: Call) -> Empty:
        need(self._state, request.sandbox_id).tags = _tags(request.tags)
        return Empty()

    async def SandboxGetFromNameV2(
        self, request: api_pb2.SandboxGetFromNameRequest, call: Call
    ) -> api_pb2.SandboxGetFromNameResponse:
        environment = self._state.environment(request.environment_name)
        app = self._state.apps.need_named(request.app_name, environment)
        sandbox = self._named(app.id, request.sandbox_name, finished=request.include_terminated)
        if sandbox is None:
            raise not_found(f"Sandbox with name '{request.sandbox_name}' not found")
        return api_pb2.SandboxGetFromNameResponse(sandbox_id=sandbox.id, metadata=_metadata(sandbox))

    SandboxWait = SandboxWaitV2
    SandboxTerminate = SandboxTerminateV2
    SandboxGetTaskId = SandboxGetTaskIdV2
    SandboxTagsGet = SandboxTagsGetV2
    SandboxTagsSet = SandboxTagsSetV2
    SandboxGetFromName = SandboxGetFromNameV2

    def admin_live(self) -> list[dict[str, Any]]:
        """The sandboxes that are alive; see `sandbox_rows.row`."""
        return [row(self._state, sandbox) for sandbox in self._alive()]

    def admin_sandboxes(self) -> list[dict[str, Any]]:
        """All that ever were, oldest first, with the `status` of their end."""
        return [row(self._state, sandbox) for sandbox in self._state.sandboxes.values()]

    async def admin_kill(self, *, sandbox: str, status: str = "MEMORY_MANAGER_EVICTION") -> None:
        """End a sandbox as Modal might; `status` names why, without `GENERIC_STATUS_`. The exit code is 0."""
        found: Sandbox = self._state.sandboxes[sandbox]
        found.finish(Result.GenericStatus.Value(f"GENERIC_STATUS_{status}"))
        await found.ended.wait()

    def admin_look(self, *, sandbox: str, paths: list[str]) -> dict[str, Any]:
        """What is in a live sandbox with processes; see `box_look.look`."""
        found: Sandbox = self._state.sandboxes[sandbox]
        if not found.alive or not isinstance(found.machine, Box):
            raise LookupError(f"sandbox {sandbox} has no processes to look at")
        return look(found.machine.pid, paths)

    async def close(self) -> None:
        """End every sandbox."""
        alive = list(self._alive())
        for sandbox in alive:
            sandbox.finish(Result.GENERIC_STATUS_TERMINATED)
        await asyncio.gather(*(sandbox.ended.wait() for sandbox in alive))
        self._boxes.close()


def secret_sources_env(state: State, sources: Iterable[api_pb2.SecretSource]) -> dict[str, str]:
    """The environment variables of secrets by name and inline; a later one wins. Raises NOT_FOUND."""
    env: dict[str, str] = {}
    for source in sources:
        inline = source.WhichOneof("source") == "env"
        env.update(source.env.contents if inline else state.secret_env([source.secret_id]))
    return env


def _refuse_unsupported(spec: api_pb2.Sandbox) -> None:
    asked = {field.name for field, _ in spec.ListFields()}
    if not spec.open_ports.ports:
        asked.discard("open_ports")  # the SDK sends an empty one always
    if refused := sorted(asked & UNSUPPORTED):
        raise GRPCError(Status.UNIMPLEMENTED, f"tests/modal_server: no sandbox with {', '.join(refused)}")
    if not spec.timeout_secs:
        raise invalid("a sandbox needs a timeout")


def _metadata(sandbox: Sandbox) -> api_pb2.SandboxHandleMetadata:
    result = None if sandbox.alive else sandbox.result
    return api_pb2.SandboxHandleMetadata(app_id=sandbox.app, result=result)


def _tags(protos: Iterable[api_pb2.SandboxTag]) -> dict[str, str]:
    return {tag.tag_name: tag.tag_value for tag in protos}


def _tag_protos(sandbox: Sandbox) -> list[api_pb2.SandboxTag]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in sandbox.tags.items()]


def _info(sandbox: Sandbox) -> api_pb2.SandboxInfo:
    task = api_pb2.TaskInfo(
        id=sandbox.task_id, started_at=sandbox.created, result=sandbox.result, sandbox_id=sandbox.id
    )
    return api_pb2.SandboxInfo(
        id=sandbox.id,
        created_at=sandbox.created,
        task_info=task,
        app_id=sandbox.app,
        tags=_tag_protos(sandbox),
        name=sandbox.name,
        image_id=sandbox.spec.image_id,
        timeout_secs=sandbox.spec.timeout_secs,
        metadata=_metadata(sandbox),
    )

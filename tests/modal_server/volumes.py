"""Volumes by name: created, listed, renamed, deleted, and synced with the containers that have them."""

from __future__ import annotations

import shutil

from modal_proto import api_pb2

from tests.modal_server.state import Call, RunningContainer, State, Volume
from tests.modal_server.wire import Empty, conflict, exists

V1, V2 = api_pb2.VOLUME_FS_VERSION_V1, api_pb2.VOLUME_FS_VERSION_V2


def _metadata(record: Volume) -> api_pb2.VolumeMetadata:
    return api_pb2.VolumeMetadata(version=record.version, name=record.name, creation_info=record.creation())


class Volumes:
    def __init__(self, state: State) -> None:
        self._state = state

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, call: Call
    ) -> api_pb2.VolumeGetOrCreateResponse:
        environment = self._state.environment(request.environment_name)

        def make(name: str) -> Volume:
            id_ = self._state.new_id("vo")
            folder = self._state.folder / "volumes" / id_
            folder.mkdir(parents=True)
            version = V2 if request.version == V2 else V1
            return Volume(id_, name, environment, self._state.now(), version=version, folder=folder)

        record = self._state.volumes.get_or_create(
            request.object_creation_type, request.deployment_name, environment, make
        )
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=record.id, version=record.version, metadata=_metadata(record)
        )

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, call: Call
    ) -> api_pb2.VolumeGetByIdResponse:
        record = self._state.volumes.need(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=record.id, metadata=_metadata(record))

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest, call: Call) -> Empty:
        self._state.volumes.need(request.volume_id)
        return Empty()

    async def VolumeCommit(
        self, request: api_pb2.VolumeCommitRequest, call: Call
    ) -> api_pb2.VolumeCommitResponse:
        self._container(call).commit(request.volume_id)
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, call: Call) -> Empty:
        self._container(call).reload(request.volume_id)
        return Empty()

    def _container(self, call: Call) -> RunningContainer:
        container = self._state.containers.get(call.container)
        if container is None:
            raise conflict(f"{call.rpc} is for containers that have the volume")
        return container

    async def VolumeList(self, request: api_pb2.VolumeListRequest, call: Call) -> api_pb2.VolumeListResponse:
        environment = self._state.environment(request.environment_name)
        items = [
            api_pb2.VolumeListItem(
                label=record.name, volume_id=record.id, created_at=record.created, metadata=_metadata(record)
            )
            for record in self._state.volumes.page(environment, request.pagination)
        ]
        return api_pb2.VolumeListResponse(items=items, environment_name=environment)

    async def VolumeRename(self, request: api_pb2.VolumeRenameRequest, call: Call) -> Empty:
        record = self._state.volumes.need(request.volume_id)
        if self._state.volumes.named(request.name, record.environment):
            raise exists(f"Volume '{request.name}' already exists")
        record.name = request.name
        return Empty()

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest, call: Call) -> Empty:
        record = self._state.volumes.need(request.volume_id)
        del self._state.volumes[record.id]
        shutil.rmtree(record.folder)
        return Empty()

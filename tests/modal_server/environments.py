"""Environments: each has its own apps, secrets, volumes and dicts by name."""

from __future__ import annotations

from modal_proto import api_pb2

from tests.modal_server.state import DEFAULT_ENVIRONMENT, Call, Environment, State
from tests.modal_server.wire import Empty, exists


def _item(record: Environment) -> api_pb2.EnvironmentListItem:
    return api_pb2.EnvironmentListItem(
        name=record.name,
        environment_id=record.id,
        created_at=record.created,
        default=record.name == DEFAULT_ENVIRONMENT,
        webhook_suffix=record.settings.webhook_suffix,
        image_builder_version=record.settings.image_builder_version,
    )


class Environments:
    def __init__(self, state: State) -> None:
        self._state = state

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, call: Call
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        name = request.deployment_name or DEFAULT_ENVIRONMENT
        record = self._state.environments.named(name, name)
        if record is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                self._state.environment(name)
            record = self._state.add_environment(name)
        metadata = api_pb2.EnvironmentMetadata(name=record.name, settings=record.settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id=record.id, metadata=metadata)

    async def EnvironmentCreate(self, request: api_pb2.EnvironmentCreateRequest, call: Call) -> Empty:
        if self._state.environments.named(request.name, request.name):
            raise exists(f"Environment '{request.name}' already exists")
        self._state.add_environment(request.name)
        return Empty()

    async def EnvironmentDelete(self, request: api_pb2.EnvironmentDeleteRequest, call: Call) -> Empty:
        """With everything in it."""
        state = self._state
        del state.environments[state.environments.need_named(request.name, request.name).id]
        for app in state.apps.values():
            if app.environment == request.name:
                await state.stop_app(app)
        for table in (state.secrets, state.volumes, state.dicts):
            table.forget(request.name)
        return Empty()

    async def EnvironmentList(self, request: Empty, call: Call) -> api_pb2.EnvironmentListResponse:
        records = self._state.environments.values()
        return api_pb2.EnvironmentListResponse(items=[_item(record) for record in records])

"""Secrets: values go in and into containers, and never out by an RPC."""

from __future__ import annotations

from modal_proto import api_pb2

from tests.modal_server.state import Call, Secret, State
from tests.modal_server.wire import Empty, not_found


def _metadata(record: Secret) -> api_pb2.SecretMetadata:
    return api_pb2.SecretMetadata(
        name=record.name,
        creation_info=record.creation(),
        keys=sorted(record.values),
        environment_name=record.environment,
    )


class Secrets:
    def __init__(self, state: State) -> None:
        self._state = state

    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest, call: Call
    ) -> api_pb2.SecretGetOrCreateResponse:
        environment = self._state.environment(request.environment_name)

        def make(name: str) -> Secret:
            values = dict(request.env_dict)
            return Secret(self._state.new_id("st"), name, environment, self._state.now(), values=values)

        name = request.deployment_name
        record = self._state.secrets.get_or_create(request.object_creation_type, name, environment, make)
        if missing := set(request.required_keys) - set(record.values):
            raise not_found(f"Secret '{name}' is missing key(s): {', '.join(sorted(missing))}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=record.id, metadata=_metadata(record))

    async def SecretGetInfo(
        self, request: api_pb2.SecretGetInfoRequest, call: Call
    ) -> api_pb2.SecretGetInfoResponse:
        record = self._state.secrets.need(request.secret_id)
        return api_pb2.SecretGetInfoResponse(metadata=_metadata(record))

    async def SecretUpdate(self, request: api_pb2.SecretUpdateRequest, call: Call) -> Empty:
        """An update without a value takes the key away."""
        values = self._state.secrets.need(request.secret_id).values
        for update in request.updates:
            if update.HasField("value"):
                values[update.key] = update.value
            else:
                values.pop(update.key, None)
        return Empty()

    async def SecretList(self, request: api_pb2.SecretListRequest, call: Call) -> api_pb2.SecretListResponse:
        environment = self._state.environment(request.environment_name)
        items = [
            api_pb2.SecretListItem(
                label=record.name,
                created_at=record.created,
                environment_name=environment,
                secret_id=record.id,
                metadata=_metadata(record),
            )
            for record in self._state.secrets.page(environment, request.pagination)
        ]
        return api_pb2.SecretListResponse(items=items, environment_name=environment)

    async def SecretDelete(self, request: api_pb2.SecretDeleteRequest, call: Call) -> Empty:
        del self._state.secrets[self._state.secrets.need(request.secret_id).id]
        return Empty()

    def admin_secret(self, *, name: str, environment: str) -> dict[str, str]:
        """The values of a secret. Raises `LookupError` when there is none of this name."""
        record = self._state.secrets.named(name, environment)
        if record is None:
            raise LookupError(f"no secret {name} in {environment}")
        return record.values

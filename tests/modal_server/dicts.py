"""Dicts: keys and values as the SDK pickles them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from modal_proto import api_pb2

from tests.modal_server.state import Call, Dict, State
from tests.modal_server.wire import Empty


def _metadata(record: Dict) -> api_pb2.DictMetadata:
    return api_pb2.DictMetadata(name=record.name, creation_info=record.creation())


class Dicts:
    def __init__(self, state: State) -> None:
        self._state = state

    async def DictGetOrCreate(
        self, request: api_pb2.DictGetOrCreateRequest, call: Call
    ) -> api_pb2.DictGetOrCreateResponse:
        environment = self._state.environment(request.environment_name)
        record = self._state.dicts.get_or_create(
            request.object_creation_type,
            request.deployment_name,
            environment,
            lambda name: Dict(self._state.new_id("di"), name, environment, self._state.now()),
        )
        return api_pb2.DictGetOrCreateResponse(dict_id=record.id, metadata=_metadata(record))

    async def DictGetById(
        self, request: api_pb2.DictGetByIdRequest, call: Call
    ) -> api_pb2.DictGetByIdResponse:
        record = self._state.dicts.need(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=record.id, metadata=_metadata(record))

    async def DictHeartbeat(self, request: api_pb2.DictHeartbeatRequest, call: Call) -> Empty:
        self._state.dicts.need(request.dict_id)
        return Empty()

    async def DictGet(self, request: api_pb2.DictGetRequest, call: Call) -> api_pb2.DictGetResponse:
        value = self._items(request.dict_id).get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictUpdate(self, request: api_pb2.DictUpdateRequest, call: Call) -> api_pb2.DictUpdateResponse:
        """With `if_not_exists`, a key that is there keeps its value, and `created` is false."""
        items = self._items(request.dict_id)
        created = not any(update.key in items for update in request.updates)
        for update in request.updates:
            if not (request.if_not_exists and update.key in items):
                items[update.key] = update.value
        return api_pb2.DictUpdateResponse(created=created or not request.if_not_exists)

    async def DictPop(self, request: api_pb2.DictPopRequest, call: Call) -> api_pb2.DictPopResponse:
        value = self._items(request.dict_id).pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictContains(
        self, request: api_pb2.DictContainsRequest, call: Call
    ) -> api_pb2.DictContainsResponse:
        return api_pb2.DictContainsResponse(found=request.key in self._items(request.dict_id))

    async def DictLen(self, request: api_pb2.DictLenRequest, call: Call) -> api_pb2.DictLenResponse:
        return api_pb2.DictLenResponse(len=len(self._items(request.dict_id)))

    async def DictContents(
        self, request: api_pb2.DictContentsRequest, call: Call
    ) -> AsyncIterator[api_pb2.DictEntry]:
        for key, value in list(self._items(request.dict_id).items()):
            yield api_pb2.DictEntry(key=key, value=value if request.values else b"")

    async def DictClear(self, request: api_pb2.DictClearRequest, call: Call) -> Empty:
        self._items(request.dict_id).clear()
        return Empty()

    async def DictList(self, request: api_pb2.DictListRequest, call: Call) -> api_pb2.DictListResponse:
        environment = self._state.environment(request.environment_name)
        dicts = [
            api_pb2.DictListResponse.DictInfo(
                name=record.name, created_at=record.created, dict_id=record.id, metadata=_metadata(record)
            )
            for record in self._state.dicts.page(environment, request.pagination)
        ]
        return api_pb2.DictListResponse(dicts=dicts, environment_name=environment)

    async def DictDelete(self, request: api_pb2.DictDeleteRequest, call: Call) -> Empty:
        del self._state.dicts[self._state.dicts.need(request.dict_id).id]
        return Empty()

    def _items(self, dict_id: str) -> dict[bytes, bytes]:
        return self._state.dicts.need(dict_id).items

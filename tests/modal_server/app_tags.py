"""Tags of apps, and new containers for an app without a deploy."""

from __future__ import annotations

from modal_proto import api_pb2

from tests.modal_server.state import Call, State
from tests.modal_server.wire import Empty


class AppTags:
    def __init__(self, state: State) -> None:
        self._state = state

    async def AppGetTags(self, request: api_pb2.AppGetTagsRequest, call: Call) -> api_pb2.AppGetTagsResponse:
        return api_pb2.AppGetTagsResponse(tags=self._state.apps.need(request.app_id).tags)

    async def AppSetTags(self, request: api_pb2.AppSetTagsRequest, call: Call) -> Empty:
        """All tags of an app are replaced."""
        self._state.apps.need(request.app_id).tags = dict(request.tags)
        return Empty()

    async def AppRollover(
        self, request: api_pb2.AppRolloverRequest, call: Call
    ) -> api_pb2.AppRolloverResponse:
        """The next request gets a new container."""
        app = self._state.apps.need(request.app_id)
        await self._state.end_containers(app.id)
        return api_pb2.AppRolloverResponse(
            url=f"{self._state.http}/apps/{app.id}", deployed_at=self._state.now()
        )

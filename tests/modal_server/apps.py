"""Apps: looked up, created, published, stopped, listed."""

from __future__ import annotations

from typing import Any

from modal_proto import api_pb2

from tests.modal_server.state import App, Call, State
from tests.modal_server.wire import not_found

STOPPED = api_pb2.APP_STATE_STOPPED


class Apps:
    def __init__(self, state: State) -> None:
        self._state = state

    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest, call: Call
    ) -> api_pb2.AppGetOrCreateResponse:
        environment = self._state.environment(request.environment_name)
        app = self._live(request.app_name, environment)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise not_found(f"App '{request.app_name}' not found in environment '{environment}'")
            app = self._add(request.app_name, environment, api_pb2.APP_STATE_DEPLOYED)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id)

    def admin_apps(self) -> list[dict[str, Any]]:
        """Every app: id, name, environment, state, functions by name."""
        return [
            {
                "id": app.id,
                "name": app.name,
                "environment": app.environment,
                "state": api_pb2.AppState.Name(app.state),
                "functions": app.functions,
            }
            for app in self._state.apps.values()
        ]

    def _live(self, name: str, environment: str) -> App | None:
        apps = self._state.apps.values()
        wanted = (name, environment)
        return next((a for a in apps if (a.name, a.environment) == wanted and a.state != STOPPED), None)

    def _add(self, name: str, environment: str, state: api_pb2.AppState.ValueType) -> App:
        record = App(
            self._state.new_id("ap"), name, environment, self._state.now(), state=state, description=name
        )
        return self._state.apps.add(record)

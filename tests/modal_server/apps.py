"""Apps: looked up, created, published, stopped, listed, with their history."""

from __future__ import annotations

from typing import Any

from modal_proto import api_pb2

from tests.modal_server.state import App, Call, State
from tests.modal_server.wire import Empty, not_found


class Apps:
    def __init__(self, state: State) -> None:
        self._state = state

    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest, call: Call
    ) -> api_pb2.AppGetOrCreateResponse:
        environment = self._state.environment(request.environment_name)
        app = self._state.live_app(request.app_name, environment)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise not_found(f"App '{request.app_name}' not found in environment '{environment}'")
            app = self._add(request.app_name, environment, api_pb2.APP_STATE_DEPLOYED)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id)

    async def AppCreate(self, request: api_pb2.AppCreateRequest, call: Call) -> api_pb2.AppCreateResponse:
        """Its name it gets when it is published."""
        app = self._add("", self._state.environment(request.environment_name), request.app_state)
        app.description = request.description
        app.tags = dict(request.tags)
        page = self._page(app)
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=page, app_logs_url=f"{page}/logs")

    async def AppPublish(self, request: api_pb2.AppPublishRequest, call: Call) -> api_pb2.AppPublishResponse:
        """From now on the functions are as they were created last; containers of older ones end."""
        app = self._state.apps.need(request.app_id)
        functions = {name: self._state.functions.need(id_) for name, id_ in request.function_ids.items()}
        app.name = request.name or app.name
        app.description = app.name or app.description
        app.state = request.app_state or app.state
        app.tags = dict(request.tags)
        for id_ in app.functions.values():
            self._state.functions[id_].published = None
        app.functions = dict(request.function_ids)
        for function in functions.values():
            function.published = function.created_as
        await self._state.end_containers(app.id)
        now = self._state.now()
        app.history.append(
            api_pb2.AppDeploymentHistory(
                app_id=app.id,
                version=len(app.history) + 1,
                client_version=call.metadata.get("x-modal-client-version", ""),
                deployed_at=now,
                deployed_by="tester",
                tag=request.deployment_tag,
                commit_info=request.commit_info,
            )
        )
        return api_pb2.AppPublishResponse(url=self._page(app), deployed_at=now)

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest, call: Call
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        environment = self._state.environment(request.environment_name)
        app = self._state.live_app(request.name, environment)
        last = self._state.apps.named(request.name, environment)
        return api_pb2.AppGetByDeploymentNameResponse(
            app_id=app.id if app else "",
            previous_app_id=last.id if last else "",
            environment_name=environment,
            lifecycle=_lifecycle(last) if last else None,
        )

    async def AppGetLifecycle(
        self, request: api_pb2.AppGetLifecycleRequest, call: Call
    ) -> api_pb2.AppGetLifecycleResponse:
        app = self._state.apps.need(request.app_id)
        return api_pb2.AppGetLifecycleResponse(lifecycle=_lifecycle(app))

    async def AppGetLayout(
        self, request: api_pb2.AppGetLayoutRequest, call: Call
    ) -> api_pb2.AppGetLayoutResponse:
        app = self._state.apps.need(request.app_id)
        objects = [
            api_pb2.Object(object_id=id_, function_handle_metadata=self._state.functions[id_].handle())
            for id_ in app.functions.values()
        ]
        layout = api_pb2.AppLayout(objects=objects, function_ids=app.functions)
        return api_pb2.AppGetLayoutResponse(app_layout=layout)

    async def AppList(self, request: api_pb2.AppListRequest, call: Call) -> api_pb2.AppListResponse:
        environment = self._state.environment(request.environment_name)
        apps = [app for app in self._state.apps.values() if app.environment == environment]
        items = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.id,
                description=app.description,
                name=app.name,
                state=app.state,
                created_at=app.created,
                stopped_at=app.stopped,
                n_running_tasks=len(self._state.containers_of(app.id)),
            )
            for app in apps
        ]
        return api_pb2.AppListResponse(apps=items)

    async def AppStop(self, request: api_pb2.AppStopRequest, call: Call) -> Empty:
        await self._state.stop_app(self._state.apps.need(request.app_id))
        return Empty()

    async def AppClientDisconnect(self, request: api_pb2.AppClientDisconnectRequest, call: Call) -> Empty:
        """A client that leaves ends what was never deployed."""
        app = self._state.apps.need(request.app_id)
        if app.state in (api_pb2.APP_STATE_INITIALIZING, api_pb2.APP_STATE_EPHEMERAL):
            await self._state.stop_app(app)
        return Empty()

    async def AppHeartbeat(self, request: api_pb2.AppHeartbeatRequest, call: Call) -> Empty:
        self._state.apps.need(request.app_id)
        return Empty()

    async def AppDeploymentHistory(
        self, request: api_pb2.AppDeploymentHistoryRequest, call: Call
    ) -> api_pb2.AppDeploymentHistoryResponse:
        app = self._state.apps.need(request.app_id)
        newest_first = app.history[::-1]
        return api_pb2.AppDeploymentHistoryResponse(app_deployment_histories=newest_first)

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

    def _add(self, name: str, environment: str, state: api_pb2.AppState.ValueType) -> App:
        id_, now = self._state.new_id("ap"), self._state.now()
        return self._state.apps.add(App(id_, name, environment, now, state=state, description=name))

    def _page(self, app: App) -> str:
        return f"{self._state.http}/apps/{app.id}"


def _lifecycle(app: App) -> api_pb2.AppLifecycle:
    return api_pb2.AppLifecycle(
        app_state=app.state,
        created_at=app.created,
        deployed_at=app.history[-1].deployed_at if app.history else 0,
        version=len(app.history),
        stopped_at=app.stopped,
        stopped_by="tester" if app.stopped else "",
    )

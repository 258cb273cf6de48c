"""Functions: created with their app's deploy, found by name. Only web functions get to do anything."""

from __future__ import annotations

from modal_proto import api_pb2

from tests.modal_server.state import App, Call, Function, State
from tests.modal_server.web import Web
from tests.modal_server.wire import not_found


def _data(function: Function, definition: api_pb2.Function) -> api_pb2.FunctionData:
    """What the SDK reads a function's settings from; without ranked functions it raises."""
    ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=definition)
    return api_pb2.FunctionData(
        module_name=definition.module_name,
        function_name=definition.function_name,
        function_type=definition.function_type,
        web_url=function.url,
        webhook_config=definition.webhook_config,
        autoscaler_settings=definition.autoscaler_settings,
        timeout_secs=definition.timeout_secs,
        startup_timeout_secs=definition.startup_timeout_secs,
        is_server=definition.is_server,
        ranked_functions=[ranked],
    )


class Functions:
    def __init__(self, state: State, web: Web) -> None:
        self._state = state
        self._web = web

    async def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest, call: Call
    ) -> api_pb2.FunctionPrecreateResponse:
        app = self._state.apps.need(request.app_id)
        is_web = bool(request.webhook_config.type)
        function = await self._ensure(app, request.function_name, request.existing_function_id, is_web)
        return api_pb2.FunctionPrecreateResponse(function_id=function.id, handle_metadata=function.handle())

    async def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest, call: Call
    ) -> api_pb2.FunctionCreateResponse:
        """Checks that what the function needs is there. Raises NOT_FOUND."""
        app = self._state.apps.need(request.app_id)
        definition = request.function
        if request.HasField("function_data"):
            definition = request.function_data.ranked_functions[0].function
        self._check(definition)
        is_web = bool(definition.webhook_config.type) or definition.is_server
        function = await self._ensure(app, definition.function_name, request.existing_function_id, is_web)
        function.created_as = definition
        function.definition_id = self._state.new_id("de")
        return api_pb2.FunctionCreateResponse(
            function_id=function.id,
            function=definition,
            handle_metadata=function.handle(),
            function_data=_data(function, definition),
        )

    async def FunctionGet(
        self, request: api_pb2.FunctionGetRequest, call: Call
    ) -> api_pb2.FunctionGetResponse:
        environment = self._state.environment(request.environment_name)
        app = self._state.live_app(request.app_name, environment)
        id_ = app.functions.get(request.object_tag) if app else None
        if id_ is None:
            raise not_found(f"No function '{request.object_tag}' in app '{request.app_name}'")
        function = self._state.functions.need(id_)
        return api_pb2.FunctionGetResponse(
            function_id=id_,
            handle_metadata=function.handle(),
            function=_data(function, function.published or function.created_as),
        )

    async def FunctionGetById(
        self, request: api_pb2.FunctionGetByIdRequest, call: Call
    ) -> api_pb2.FunctionGetByIdResponse:
        function = self._state.functions.need(request.function_id)
        return api_pb2.FunctionGetByIdResponse(
            handle_metadata=function.handle(),
            function=_data(function, function.published or function.created_as),
        )

    async def _ensure(self, app: App, name: str, existing: str, is_web: bool) -> Function:
        """The function of this id, or of this name in the app, or a new one. A web function has its URL."""
        functions = self._state.functions
        function = functions.get(existing) or next(
            (f for f in functions.values() if (f.app, f.name) == (app.id, name)), None
        )
        if function is None:
            id_, now = self._state.new_id("fu"), self._state.now()
            function = functions.add(Function(id_, name, app.environment, now, app=app.id))
        if is_web and not function.url:
            function.url = await self._web.open(function, app.description)
        return function

    def _check(self, definition: api_pb2.Function) -> None:
        self._state.images.need(definition.image_id)
        for id_ in definition.secret_ids:
            self._state.secrets.need(id_)
        for id_ in definition.mount_ids:
            self._state.mounts.need(id_)
        for mount in definition.volume_mounts:
            self._state.volumes.need(mount.volume_id)

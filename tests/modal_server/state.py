"""What the server knows: the records that the parts share, and where their bytes lie."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from modal_proto import api_pb2

from tests.modal_server.content import Content
from tests.modal_server.faults import Faults
from tests.modal_server.wire import exists, not_found

UNNAMED = (
    api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
)

DEFAULT_ENVIRONMENT = "main"
WORKSPACE = "test-workspace"
BUILDER_VERSION = "2025.06"


@dataclass(frozen=True)
class Call:
    """One RPC under way, beside its request."""

    rpc: str
    metadata: Mapping[str, str]
    container: str = ""
    """Id of the container that calls; "" for a client outside."""


@dataclass
class Limits:
    """What `RunningServer.set` changes. 0 is no limit."""

    create_rate: float = 0.0
    """Sandboxes a second."""
    burst: int = 1
    """Sandboxes that may be made at once before the rate counts."""
    max_sandboxes: int = 0
    """Sandboxes alive at once."""
    retry_after: float = 0.0
    """Seconds that an answer over a limit tells the SDK to wait; 0: it tells nothing."""
    idempotency: bool = True
    """Whether a second call with the same x-idempotency-key gets the answer of the first."""

    def set(self, values: Mapping[str, float]) -> None:
        """Change the named limits. Raises `ValueError` for a name that is none."""
        known = {item.name for item in fields(self)}
        if unknown := set(values) - known:
            raise ValueError(f"no limit {', '.join(sorted(unknown))}: one of {', '.join(sorted(known))}")
        for name, value in values.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Placed:
    """One file of a mount, an image or a volume: where its bytes lie on this host."""

    source: Path
    mode: int = 0o644


@dataclass
class Record:
    """Something with an id that an environment may know by name; "" for what has none."""

    id: str
    name: str = ""
    environment: str = DEFAULT_ENVIRONMENT
    created: float = field(default_factory=time.time)

    def creation(self) -> api_pb2.CreationInfo:
        return api_pb2.CreationInfo(created_at=self.created, created_by="tester")


@dataclass
class Environment(Record):
    settings: api_pb2.EnvironmentSettings = field(default_factory=api_pb2.EnvironmentSettings)


@dataclass
class App(Record):
    state: api_pb2.AppState.ValueType = api_pb2.APP_STATE_INITIALIZING
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    """Name in the app -> id, of what is published."""
    history: list[api_pb2.AppDeploymentHistory] = field(default_factory=list)
    stopped: float = 0.0


@dataclass
class Secret(Record):
    values: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Mount(Record):
    files: dict[str, Placed] = field(default_factory=dict)
    """Absolute path in the container -> file."""


@dataclass
class Image(Record):
    definition: api_pb2.Image = field(default_factory=api_pb2.Image)
    """The one layer as the SDK described it; `definition.base_images` are what it stands on."""
    files: dict[str, Placed] = field(default_factory=dict)
    """Absolute path -> file, of this layer and all below it: what was copied into the image."""
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = ""
    result: api_pb2.GenericResult = field(default_factory=api_pb2.GenericResult)


@dataclass
class Volume(Record):
    version: api_pb2.VolumeFsVersion.ValueType = api_pb2.VOLUME_FS_VERSION_V1
    folder: Path = Path()
    """The committed content, as files."""


@dataclass
class Dict(Record):
    items: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class Function(Record):
    app: str = ""
    """Id of the app that it belongs to."""
    url: str = ""
    """Where it is reached, for a web function."""
    created_as: api_pb2.Function = field(default_factory=api_pb2.Function)
    """As it was created last; it counts from when its app is published."""
    definition_id: str = ""
    published: api_pb2.Function | None = None

    def handle(self) -> api_pb2.FunctionHandleMetadata:
        return api_pb2.FunctionHandleMetadata(
            function_name=self.name,
            function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION,
            web_url=self.url,
            definition_id=self.definition_id,
            app_id=self.app,
        )


class RunningContainer(Protocol):
    """A container of a function, as the parts that do not run it see it."""

    id: str
    app: str
    started: float

    async def end(self) -> None: ...
    def commit(self, volume: str) -> None: ...
    def reload(self, volume: str) -> None: ...


R = TypeVar("R", bound=Record)


class Table(dict[str, R]):
    """Records of one kind by id. Errors are those that the SDK makes its own exceptions of."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def add(self, record: R) -> R:
        self[record.id] = record
        return record

    def need(self, id_: str) -> R:
        """Raises NOT_FOUND when there is none of this id."""
        record = self.get(id_)
        if record is None:
            raise not_found(f"{self.kind} {id_!r} not found")
        return record

    def named(self, name: str, environment: str) -> R | None:
        """The newest of this name: of apps that are stopped there may be many."""
        newest_first = reversed(self.values())
        return next((r for r in newest_first if (r.name, r.environment) == (name, environment)), None)

    def need_named(self, name: str, environment: str) -> R:
        """Raises NOT_FOUND when the environment knows none of this name."""
        record = self.named(name, environment)
        if record is None:
            raise not_found(f"{self.kind} '{name}' not found in environment '{environment}'")
        return record

    def get_or_create(
        self, how: api_pb2.ObjectCreationType.ValueType, name: str, environment: str, make: Callable[[str], R]
    ) -> R:
        """As a GetOrCreate request asks; `make` is given the name, "" for what shall have none.

        With CREATE_OVERWRITE_IF_EXISTS a record that is there is replaced. Raises NOT_FOUND, ALREADY_EXISTS.
        """
        if how in UNNAMED:
            return self.add(make(""))
        found = self.named(name, environment)
        if how == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            return self.need_named(name, environment)
        if found is None:
            return self.add(make(name))
        if how == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise exists(f"{self.kind} '{name}' already exists")
        if how == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            del self[found.id]
            return self.add(make(name))
        return found

    def forget(self, environment: str) -> None:
        """Drop everything that belongs to an environment."""
        for id_ in [record.id for record in self.values() if record.environment == environment]:
            del self[id_]

    def page(self, environment: str, pagination: api_pb2.ListPagination | None = None) -> list[R]:
        """The named records of an environment, newest first, cut as a list request asks."""
        records: Iterable[R] = (r for r in self.values() if r.name and r.environment == environment)
        records = sorted(records, key=lambda record: record.created, reverse=True)
        if pagination is None:
            return list(records)
        before = pagination.created_before or float("inf")
        found = (record for record in records if record.created < before)
        return list(itertools.islice(found, pagination.max_objects or None))


class State:
    """Shared by all parts of one server. `folder` holds its bytes and ends with it."""

    def __init__(self, folder: Path, simulate: str = "") -> None:
        self.folder = folder
        self.simulate = simulate
        """How commands of sandboxes are simulated; "" runs them as processes."""
        self.url = ""
        """Of control plane and task command router, from when the server listens."""
        self.http = ""
        """Base of the URLs for blobs, blocks and the admin API."""
        self.token_id = "ak-test"
        self.token_secret = "as-test"
        self.faults = Faults()
        self.limits = Limits()
        self.calls: Counter[str] = Counter()
        self.content = Content(folder / "content")
        self.blobs: dict[str, str] = {}
        """Id of a blob that was uploaded -> hash of its content."""
        self.environments = Table[Environment]("Environment")
        self.apps = Table[App]("App")
        self.secrets = Table[Secret]("Secret")
        self.mounts = Table[Mount]("Mount")
        self.images = Table[Image]("Image")
        self.volumes = Table[Volume]("Volume")
        self.dicts = Table[Dict]("Dict")
        self.functions = Table[Function]("Function")
        self.sandboxes: dict[str, Any] = {}
        """By id; what a sandbox is, only the parts that run it know."""
        self.containers: dict[str, RunningContainer] = {}
        self._numbers = itertools.count(1)
        self._last = 0.0
        self.add_environment(DEFAULT_ENVIRONMENT)

    def new_id(self, prefix: str) -> str:
        """`ap-0000000000000000000042`: 22 characters after the prefix, as Modal's own."""
        return f"{prefix}-{next(self._numbers):022d}"

    def now(self) -> float:
        """Seconds since the epoch, never the same twice: lists are paged by time of creation."""
        self._last = max(time.time(), self._last + 1e-6)
        return self._last

    def add_environment(self, name: str) -> Environment:
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION, webhook_suffix=name)
        record = Environment(self.new_id("en"), name, name, self.now(), settings=settings)
        return self.environments.add(record)

    def environment(self, name: str) -> str:
        """The name of an environment that there is; "" is the default one. Raises NOT_FOUND."""
        name = name or DEFAULT_ENVIRONMENT
        return self.environments.need_named(name, name).name

    def live_app(self, name: str, environment: str) -> App | None:
        """The app of this name, unless it is stopped."""
        app = self.apps.named(name, environment)
        return None if app is None or app.state == api_pb2.APP_STATE_STOPPED else app

    async def stop_app(self, app: App) -> None:
        """End everything that runs in the app."""
        app.state = api_pb2.APP_STATE_STOPPED
        app.stopped = self.now()
        for sandbox in self.sandboxes.values():
            if sandbox.app == app.id and sandbox.alive:
                sandbox.finish(api_pb2.GenericResult.GENERIC_STATUS_TERMINATED)
        await self.end_containers(app.id)

    def containers_of(self, app: str) -> list[RunningContainer]:
        return [container for container in self.containers.values() if container.app == app]

    async def end_containers(self, app: str) -> None:
        """Returns when all containers of the app with this id have ended."""
        await asyncio.gather(*[container.end() for container in self.containers_of(app)])

    def secret_env(self, ids: Iterable[str]) -> dict[str, str]:
        """The environment variables that secrets stand for; a later one wins. Raises NOT_FOUND."""
        return {key: value for id_ in ids for key, value in self.secrets.need(id_).values.items()}

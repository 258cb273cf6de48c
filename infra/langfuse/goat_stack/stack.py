"""What is started, with what: the stores that are not given by URL, and Langfuse's programs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from goat_stack import settings as names
from goat_stack.epochs import Epoch
from goat_stack.host import Host, free_port
from goat_stack.programs import Program
from goat_stack.settings import Settings
from goat_stack.stores import clickhouse, minio
from goat_stack.stores.base import Store
from goat_stack.stores.clickhouse import ClickHouse
from goat_stack.stores.minio import Minio
from goat_stack.stores.postgres import Postgres
from goat_stack.stores.redis import Redis
from goat_stack.wal import WalArchive

NOT_FOR_LANGFUSE = ("POSTGRES_PASSWORD", "MODAL_", names.PREFIX)
"""Beginnings of the variables that Langfuse has no need of."""

SCHEMA = "packages/shared/prisma/schema.prisma"


@dataclass(frozen=True)
class Stack:
    """`stores` in the order in which they are started and snapshotted.

    A job in Redis names an object that is written before it, and ends in ClickHouse after it. Snapshotted in
    the order Redis, MinIO, ClickHouse, each job that is restored finds its object, and each that is gone from
    the queue has its traces: done twice at worst, never lost.
    """

    stores: Sequence[Store]
    postgres: Postgres | None
    archive: WalArchive
    programs: Sequence[Program]


def build(settings: Settings, host: Host, epoch: Epoch) -> Stack:
    """The parts as `settings` ask for them; nothing is started yet."""
    archive = WalArchive(epoch)
    stores: list[Store] = []
    env: dict[str, str] = {}
    postgres = None
    if not settings.has(names.DATABASE):
        postgres = Postgres(host, archive, settings.given["POSTGRES_PASSWORD"], settings.archive_seconds)
        stores.append(postgres)
        env |= {names.DATABASE: postgres.url, "DIRECT_URL": postgres.url}
    if not settings.has(*names.REDIS):
        redis = Redis(host, secrets.token_hex(16))
        stores.append(redis)
        env |= {"REDIS_CONNECTION_STRING": redis.url}
    if not settings.has(names.OBJECTS):
        objects = Minio(host, secrets.token_hex(16))
        stores.append(objects)
        env |= _object_settings(objects)
    if not settings.has(names.CLICKHOUSE):
        traces = ClickHouse(host, secrets.token_hex(16))
        stores.append(traces)
        env |= {
            "CLICKHOUSE_URL": traces.url,
            "CLICKHOUSE_MIGRATION_URL": traces.migration_url,
            "CLICKHOUSE_USER": clickhouse.USER,
            "CLICKHOUSE_PASSWORD": traces.password,
            "CLICKHOUSE_CLUSTER_ENABLED": "false",
        }
    return Stack(stores, postgres, archive, _programs(settings, host, env))


def _object_settings(objects: Minio) -> dict[str, str]:
    env = {"LANGFUSE_S3_EVENT_KEY_MAX_SEGMENT_BYTES": "255"}  # MinIO makes each part of a key a file name
    for use in ("EVENT", "MEDIA"):
        env |= {
            f"LANGFUSE_S3_{use}_UPLOAD_BUCKET": minio.BUCKET,
            f"LANGFUSE_S3_{use}_UPLOAD_REGION": "auto",
            f"LANGFUSE_S3_{use}_UPLOAD_ENDPOINT": objects.url,
            f"LANGFUSE_S3_{use}_UPLOAD_ACCESS_KEY_ID": minio.USER,
            f"LANGFUSE_S3_{use}_UPLOAD_SECRET_ACCESS_KEY": objects.password,
            f"LANGFUSE_S3_{use}_UPLOAD_FORCE_PATH_STYLE": "true",
            f"LANGFUSE_S3_{use}_UPLOAD_PREFIX": f"{use.lower()}/",
        }
    return env


def _programs(settings: Settings, host: Host, stores: dict[str, str]) -> Sequence[Program]:
    given = {name: value for name, value in settings.given.items() if not name.startswith(NOT_FOR_LANGFUSE)}
    shared = {"NEXTAUTH_URL": f"http://localhost:{settings.port}", "TELEMETRY_ENABLED": "false"} | given
    env = host.environment(shared | stores | {"HOME": str(host.data)})
    worker_port = free_port()
    web = Program(
        host,
        "langfuse-web",
        ["node", "./web/server.js"],
        env | {"PORT": str(settings.port), "HOSTNAME": "0.0.0.0"},  # noqa: S104 - the one public port
        settings.web,
        f"http://127.0.0.1:{settings.port}/api/public/health",
        # The image's own entry point passes the database's URL, with its password, on a command line.
        before=[
            ["prisma", "db", "execute", "--schema", SCHEMA, "--file", "packages/shared/scripts/cleanup.sql"],
            ["prisma", "migrate", "deploy", "--schema", SCHEMA],
            ["sh", "-c", "cd packages/shared && exec sh clickhouse/scripts/up.sh"],
        ],
    )
    worker = Program(
        host,
        "langfuse-worker",
        ["node", "worker/dist/index.js"],
        env | {"PORT": str(worker_port), "HOSTNAME": "127.0.0.1"},
        settings.worker,
        f"http://127.0.0.1:{worker_port}/api/health",
    )
    return [web, worker]

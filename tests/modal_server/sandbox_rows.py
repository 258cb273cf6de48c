"""A sandbox as the admin API tells of it."""

from __future__ import annotations

from typing import Any

from modal_proto import api_pb2

from tests.modal_server.sandbox import Sandbox
from tests.modal_server.state import State


def row(state: State, sandbox: Sandbox) -> dict[str, Any]:
    """What was asked for and what became of it. Of the environment the names alone are told."""
    spec = sandbox.spec
    return {
        "id": sandbox.id,
        "app": state.apps[sandbox.app].name,
        "environment": sandbox.environment,
        "name": sandbox.name,
        "tags": sandbox.tags,
        "created": sandbox.created,
        "status": _status(sandbox.result),
        "image": spec.image_id,
        "argv": list(spec.entrypoint_args),
        "workdir": spec.workdir,
        "env": sorted(sandbox.env),
        "timeout": spec.timeout_secs,
        "idle_timeout": spec.idle_timeout_secs if spec.HasField("idle_timeout_secs") else None,
        "volumes": {mount.mount_path: mount.volume_id for mount in spec.volume_mounts},
        **_resources(spec.resources),
        **_network(spec.network_access),
    }


def _status(result: api_pb2.GenericResult) -> str:
    """`TERMINATED`, `IDLE_TIMEOUT`, ...; "" while it is alive."""
    if not result.status:
        return ""
    name: str = api_pb2.GenericResult.GenericStatus.Name(result.status)
    return name.removeprefix("GENERIC_STATUS_")


def _resources(resources: api_pb2.Resources) -> dict[str, Any]:
    """Cores and MiB, each as (request, limit), 0 where nothing was asked for."""
    return {
        "cpu": [resources.milli_cpu / 1000, resources.milli_cpu_max / 1000],
        "memory": [resources.memory_mb, resources.memory_mb_max],
        "gpu": resources.gpu_config.gpu_type,
        "gpu_count": resources.gpu_config.count,
    }


def _network(access: api_pb2.NetworkAccess) -> dict[str, Any]:
    """`hosts` is None when all may be reached, and empty when none may."""
    if access.network_access_type == api_pb2.NetworkAccess.BLOCKED:
        return {"hosts": [], "cidrs": []}
    if access.network_access_type == api_pb2.NetworkAccess.ALLOWLIST:
        return {"hosts": list(access.allowed_domains), "cidrs": list(access.allowed_cidrs)}
    return {"hosts": None, "cidrs": None}

"""The kinds of local isolation: names, what the launcher is told for each, what the header says of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pytest_goat.errors import UserError
from pytest_goat.sandbox.base import MB, SandboxLimits
from pytest_goat.sandbox.local import layout, wire
from pytest_goat.sandbox.local.host import HostView
from pytest_goat.sandbox.local.identity import sandbox_id

_MANY = 50_000
"""User ids from the unused one on: a root's sandboxes of tier `landlock` are strangers to each other."""


def to_try(engine: str, unsafe: bool) -> list[str]:
    """The engines to try, best first. Raises `UserError` for one that is not there, or not allowed."""
    if engine == "auto":
        return ["ns", "landlock", *(["none"] if unsafe else [])]
    if engine not in ("ns", "landlock", "none"):
        raise UserError(f"local sandbox: no engine {engine!r}; there are auto, ns and landlock")
    if engine == "none" and not unsafe:
        raise UserError("local sandbox: engine 'none' isolates nothing: it needs --goat-unsafe-local")
    return [engine]


def settings(engine: str, shown: HostView, *, cgroup: bool) -> wire.Message:
    """What the launcher is told at its start."""
    told: wire.Message = {
        "engine": engine,
        "trees": shown.trees,
        "links": shown.links,
        "memory_files": cgroup,
        "limits": bounds(SandboxLimits(), watched=not cgroup),
    }
    if engine == "ns":
        return {**told, "host_id": sandbox_id()}
    first, count = _command_ids(engine, [*shown.trees, tempfile.gettempdir()])
    folder = tempfile.mkdtemp(prefix="goat-sandbox-")
    Path(folder).chmod(0o700 if first == os.geteuid() else 0o711)
    listed = [shown.import_path] if shown.import_path else []
    return {**told, "listed": listed, "command_id": first, "command_ids": count, "temporary": folder}


def bounds(limits: SandboxLimits, *, watched: bool) -> dict[str, int]:
    """The limits as an init is told them: `watched` says that no cgroup bounds the memory of the tree."""
    return {
        "memory": limits.memory,
        "watch_memory": limits.memory if watched else 0,
        "processes": limits.processes,
        "file_size": limits.file_size,
        "disk": limits.disk,
        "volatile": limits.disk // 4,
        "open_files": limits.open_files,
    }


def _command_ids(engine: str, paths: Iterable[str]) -> tuple[int, int]:
    """The first user id of commands outside of namespaces, and how many there are to choose from.

    A root gives each sandbox an id of its own; but it stays itself, without capabilities, where the Python
    environment is closed to everybody else.
    """
    unused = sandbox_id()
    if engine == "none" or unused == os.geteuid() or not all(map(_open_to_all, paths)):
        return os.geteuid(), 1
    return unused, _MANY


def _open_to_all(path: str) -> bool:
    resolved = Path(path).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in resolved.parents)


def describe(engine: str, told: wire.Message, landlock_version: int) -> str:
    """The header line: which isolation is on, with its limits, and what it lacks."""
    limits = SandboxLimits()
    memory = f"mem {limits.memory // MB}M {'cgroup' if told['memory_files'] else 'watchdog'}"
    limited = f"{memory}, pids {limits.processes}"
    if engine == "ns":
        ids = f"uid {layout.INNER_ID}->{told['host_id']}"
        return f"local/ns (user,mnt,pid,net,ipc ns + seccomp, {ids}, {limited}, net gateway-only)"
    if engine == "landlock":
        lacks = "no pid or net ns, gateway's port reachable on any host, no disk quota, /proc and /tmp hidden"
        user = f"uid {told['command_id']}"
        return f"local/landlock abi {landlock_version} + seccomp (REDUCED: {lacks}; {user}, {limited})"
    return f"local/none (UNSAFE: commands are not isolated, and run as uid {told['command_id']}; {limited})"

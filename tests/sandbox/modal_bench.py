"""The Modal backend on the Modal server of the tests, in this process, with the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import modal
import pytest
from modal.client import _Client

from pytest_goat.sandbox.base import ExecResult, File, SandboxSpec
from pytest_goat.sandbox.modal.backend import ModalBackend
from tests.support.modal import RunningServer, modal_server

T = TypeVar("T")

ENVIRONMENT = "goat"
RUN = "20260101-120000-abcd"

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="sandboxes of the Modal test server have many users, which takes root",
)


@contextlib.contextmanager
def server_for_this_process(simulate: str = "") -> Iterator[RunningServer]:
    """A server that the SDK of this process talks to, with the environment `goat`."""
    with modal_server(simulate=simulate) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.env.items():
            patch.setenv(name, value)
        # The SDK has one client for each process, which may still be that of another module's server.
        _Client._set_env_client(None)
        modal.Environment.objects.create(ENVIRONMENT)
        yield running
        modal.Client.from_env().close()
        _Client._set_env_client(None)


@contextlib.contextmanager
def fresh(running: RunningServer) -> Iterator[RunningServer]:
    """The server with no call counted; after the block without faults, limits and sandboxes."""
    running.reset_calls()
    yield running
    running.clear_faults()
    running.set(idempotency=True, max_sandboxes=0, create_rate=0)
    assert running.live() == []


def make_backend(folder: Path, **options: Any) -> ModalBackend:
    """A backend that no rate slows down; `folder` keeps that rate."""
    return ModalBackend(**{"run_id": RUN, "create_rate": 10_000.0, "limits_folder": folder, **options})


class Workplace:
    """Gives a started backend to some work, and stops it after that."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, work: Callable[[ModalBackend], Awaitable[T]], **options: Any) -> T:
        """What `work` gives; `options` are the backend's."""

        async def all_of_it() -> T:
            backend = make_backend(self._folder, **options)
            await backend.start()
            try:
                return await work(backend)
            finally:
                await backend.stop()

        return asyncio.run(all_of_it())


async def trial(backend: ModalBackend, argv: tuple[str, ...] = ("echo", "done")) -> ExecResult:
    """The life of a sandbox, with one command."""
    sandbox = await backend.open(SandboxSpec("trial"))
    try:
        await sandbox.put({"file": File(b"x")})
        return await sandbox.exec(argv, timeout=20)
    finally:
        await sandbox.close()

"""The Modal backend on the Modal server of the tests, in this process, with the real SDK."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from modal.client import _Client

from pytest_goat.sandbox.modal.backend import ModalBackend
from tests.support.modal import RunningServer, modal_server

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


def make_backend(folder: Path, **options: Any) -> ModalBackend:
    """A backend that no rate slows down; `folder` keeps that rate."""
    return ModalBackend(**{"run_id": RUN, "create_rate": 10_000.0, "limits_folder": folder, **options})

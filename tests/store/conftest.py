"""A Modal server for the tests of the volume, which this process talks to with the real SDK."""

from __future__ import annotations

from collections.abc import Iterator

import modal
import pytest
from modal.client import _Client

from pytest_goat.cloud.names import RESULTS_VOLUME
from tests.store.volume_runs import ENVIRONMENT
from tests.support.modal import RunningServer, modal_server


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with modal_server() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.env.items():
            patch.setenv(name, value)
        # The SDK has one client for each process, which may still be that of another module's server.
        _Client._set_env_client(None)
        yield running
        modal.Client.from_env().close()
        _Client._set_env_client(None)


@pytest.fixture
def server(running_server: RunningServer) -> Iterator[RunningServer]:
    """The server without a volume `goat-results`, without faults, and with no call counted yet."""
    modal.Volume.objects.delete(RESULTS_VOLUME, environment_name=ENVIRONMENT, allow_missing=True)
    running_server.reset_calls()
    yield running_server
    running_server.clear_faults()

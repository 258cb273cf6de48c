from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.modal_runs import Cloud, Project, set_up_cloud


@pytest.fixture(scope="session")
def running_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with set_up_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running_cloud: Cloud) -> Iterator[Cloud]:
    """Without faults and limits; at the end of the test no sandbox lives."""
    server = running_cloud.server
    server.reset_calls()
    yield running_cloud
    server.clear_faults()
    server.set(idempotency=True, max_sandboxes=0, create_rate=0, retry_after=0)
    left = server.live()
    for sandbox in left:  # they are not the next test's
        server.ask("kill", sandbox=sandbox["id"])
    assert left == []


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> Project:
    return Project(tmp_path, cloud)

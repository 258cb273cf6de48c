from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.checks.arena import Arena


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    arena = Arena()
    yield arena
    arena.close()

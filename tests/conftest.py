"""What all tests share."""

from __future__ import annotations

import pytest

from tests.support.nested import OPTIONS


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """pytest's own, for runs with no other plugins than ours and xdist."""
    monkeypatch.setenv("PYTEST_ADDOPTS", OPTIONS)
    return pytester

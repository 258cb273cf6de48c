"""What all tests share."""

from __future__ import annotations

import pytest

from tests.support.nested import OPTIONS


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let no worker have all the long tests, which stand together, unless the user chose a distribution."""
    option = config.option
    if getattr(option, "numprocesses", None) and option.dist == "no":
        option.dist = "worksteal"


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """pytest's own, for runs with no other plugins than ours and xdist."""
    monkeypatch.setenv("PYTEST_ADDOPTS", OPTIONS)
    return pytester

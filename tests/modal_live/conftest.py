"""Keeps the tests of the real Modal out of every run that does not ask for them: they need an account."""

from __future__ import annotations

import pytest

MARKER = "modal_live"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if MARKER in config.option.markexpr:
        return
    live = [item for item in items if item.get_closest_marker(MARKER)]
    if live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]

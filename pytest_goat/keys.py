"""What the plugin keeps on pytest's own objects: keys alone, so that its parts need not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_goat.settings import Settings

if TYPE_CHECKING:
    from pytest_goat.collect import Suites
    from pytest_goat.fixture import Goat
    from pytest_goat.session import GoatSession

RESULT_PROPERTY = "goat_result"
"""The user property in which a result travels from a worker, as JSON text."""
WORKER_RUN_ID = "goat_run_id"
ASKED = "goat_asked"
HANDED = "goat_handed"
BOARD = "goat_board"
"""In a worker's input: the id of the run, whether the controller has asked the models, what it has made for
all (`pytest_goat.rig.handover`), and the folder in which it wants to hear what is held back, or ""."""

RUN_ID = pytest.StashKey[str]()
SETTINGS = pytest.StashKey[Settings]()
SESSION: pytest.StashKey[GoatSession] = pytest.StashKey()
"""There when trials are to run."""
FOUND = pytest.StashKey[bool]()
"""There when a prompt file was found."""
SUITES: pytest.StashKey[Suites] = pytest.StashKey()
GIVEN: pytest.StashKey[Goat] = pytest.StashKey()
"""On the item of a test that has the `goat` fixture."""

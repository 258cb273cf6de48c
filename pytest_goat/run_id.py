"""The id of a run: a module of its own, so that a run under `-n` has one before all else is loaded."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def new_run_id() -> str:
    """A fresh id that sorts by time: UTC date and time, and four random hex digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"

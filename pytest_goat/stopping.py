"""SIGTERM ends a run as Ctrl-C does: its sandboxes are closed, and what was done is told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

import pytest


def exit_on_sigterm() -> Callable[[], None]:
    """Have SIGTERM stop pytest in good order; returns what undoes that.

    A handler that somebody else has set stays.
    """
    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    signal.signal(signal.SIGTERM, _leave)
    return _restore


def _restore() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> None:
    pytest.exit("ended by SIGTERM", returncode=128 + number)

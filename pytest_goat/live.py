"""The live line below the results on a terminal."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from pytest_goat.gateway.base import Waiting
from pytest_goat.report.progress import Progress, progress_line

INTERVAL = 0.5
"""Seconds between two looks."""
ERASE = "\r\x1b[2K"

T = TypeVar("T")


class LiveLine:
    """Shows `progress` while the run waits: on a terminal only, and not under -q."""

    def __init__(
        self, config: pytest.Config, progress: Progress, waiting: Callable[[], Sequence[Waiting]]
    ) -> None:
        """`waiting` tells what rate limits hold back."""
        self.progress, self._waiting = progress, waiting
        reporter = config.pluginmanager.getplugin("terminalreporter")
        wanted = reporter is not None and reporter.isatty and config.get_verbosity() >= 0
        self._reporter: pytest.TerminalReporter | None = reporter if wanted else None

    def wait(self, finished: queue.SimpleQueue[T]) -> T:
        """The next of `finished`; the line is there as long as that takes."""
        if self._reporter is None:
            return finished.get()
        shown = False
        while True:
            try:
                found = finished.get(timeout=INTERVAL)
            except queue.Empty:
                self._show(self._reporter)
                shown = True
                continue
            if shown:
                self._reporter.write(ERASE, flush=True)
            return found

    def _show(self, reporter: pytest.TerminalReporter) -> None:
        reporter.ensure_newline()
        self.progress.waiting = self._waiting()
        width = shutil.get_terminal_size().columns - 1
        reporter.write(ERASE + progress_line(self.progress, width), flush=True)

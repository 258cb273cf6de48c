"""The live line below the results on a terminal."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import pytest

from pytest_goat.gateway.base import Waiting
from pytest_goat.report.progress import Progress, progress_line

INTERVAL = 0.5
"""Seconds between two looks."""
_FRESH = "\r\x1b[2K"
_GONE = "\r\x1b[2K\x1b[A\n"
"""Erases the line, and ends with a newline (one row up, one down): so pytest knows where the cursor is."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """A queue, as one who takes from it sees it."""

    def get(self, block: bool = True, timeout: float | None = None) -> T_co: ...


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
        self._shown = False

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to show it to."""
        return self._reporter is not None

    def wait(self, finished: Source[T]) -> T:
        """The next of `finished`; the line is there as long as that takes."""
        while self._reporter is not None:
            try:
                return self.take(finished)
            except queue.Empty:
                continue
        return finished.get()

    def take(self, finished: Source[T]) -> T:
        """The same for `INTERVAL` seconds. Raises `queue.Empty` when nothing came; then the line is there."""
        try:
            found = finished.get(timeout=INTERVAL)
        except queue.Empty:
            self._show()
            raise
        if self._shown and self._reporter is not None:
            self._reporter.write(_GONE, flush=True)
            self._shown = False
        return found

    def _show(self) -> None:
        reporter = self._reporter
        if reporter is None or self.progress.done >= self.progress.total:
            return
        if not self._shown:
            reporter.ensure_newline()
            writer = reporter.config.get_terminal_writer()
            # Under `-n`, letters stand there of which the above knows nothing.
            if writer.width_of_current_line:
                writer.line()
        self.progress.waiting = self._waiting()
        width = shutil.get_terminal_size().columns - 1
        reporter.write(_FRESH + progress_line(self.progress, width), flush=True)
        self._shown = True

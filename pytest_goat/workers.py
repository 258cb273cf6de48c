"""The live line of a run under `-n`, in the process that leads its workers."""

from __future__ import annotations

import queue
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.board import Board
from pytest_goat.gateway.base import Gateway, Waiting
from pytest_goat.item import is_trial
from pytest_goat.keys import BOARD
from pytest_goat.live import LiveLine
from pytest_goat.report.progress import Progress


class Workers:
    """Hooks that follow what workers do, and show it."""

    def __init__(self, config: pytest.Config, progress: Progress, gateway: Gateway) -> None:
        """`progress` hears of results from elsewhere; how much there is to do is heard of here."""
        self._config, self._progress, self._gateway = config, progress, gateway
        self._line = LiveLine(config, progress, self._waiting)
        self._board: Board | None = None
        self._collected: set[str] = set()
        if self._line.wanted and not gateway.hosts:  # what is deployed serves all workers, and tells itself
            self._board = Board(Path(tempfile.mkdtemp(prefix="goat-board-")))

    def _waiting(self) -> Sequence[Waiting]:
        return self._board.waiting() if self._board is not None else self._gateway.waiting()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[BOARD] = str(self._board.folder) if self._board is not None else ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Each worker collects all, and runs one trial at a time."""
        self._collected.add(node.gateway.id)
        self._progress.total, self._progress.parallel = sum(map(is_trial, ids)), len(self._collected)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._collected.discard(node.gateway.id)
        self._progress.parallel = len(self._collected)
        if self._board is not None:
            self._board.tell(node.gateway.id, ())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        controller: Any = self._config.pluginmanager.getplugin("dsession")
        events = getattr(controller, "queue", None)  # no documented part of xdist
        if self._line.wanted and isinstance(events, queue.Queue):
            controller.queue = _Watched(events, self._line)

    def pytest_unconfigure(self) -> None:
        if self._board is not None:
            shutil.rmtree(self._board.folder, ignore_errors=True)


class _Watched:
    """In place of the queue of what workers tell xdist's loop: as long as none does, the line is there.

    The loop calls no hook while it waits, and another thread would write into what pytest writes.
    """

    def __init__(self, events: queue.Queue[Any], line: LiveLine) -> None:
        self._events, self._line = events, line
        self.put = events.put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `queue.Queue.get`, but for a short time at most: xdist's loop asks again."""
        return self._line.take(self._events)

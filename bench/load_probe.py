"""A pytest plugin that looks at a run from inside, and writes what it saw as JSON to $BENCH_PROBE."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.keys import SESSION

LOOK_EVERY = 1.0
TICK = 0.05
"""Seconds."""


class Probe:
    """Looks at this process from time to time while trials run."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._looks: list[dict[str, int]] = []
        self._trials_seconds = 0.0
        self._watching: asyncio.Task[None] | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        self._look()
        session.config.stash[SESSION].call(self._start())
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            self._trials_seconds = time.perf_counter() - began
            self._look()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            seen = {
                "trials_seconds": self._trials_seconds,
                "peak_memory": _status("VmHWM"),
                "lags": sorted(self._lags),
                "looks": self._looks,
            }
            Path(os.environ["BENCH_PROBE"]).write_text(json.dumps(seen))

    async def _start(self) -> None:
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        """On the loop of the trials: how late it wakes is how long it was held up."""
        next_look = time.perf_counter() + LOOK_EVERY
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self._lags.append(now - began - TICK)
            if now >= next_look:
                next_look = now + LOOK_EVERY
                self._look()

    def _look(self) -> None:
        seen: dict[str, Any] = {
            "memory": _status("VmRSS"),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "threads": threading.active_count(),
        }
        self._looks.append(seen)


def _status(name: str) -> int:
    """Bytes, of a line of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Probe(), "bench-probe")

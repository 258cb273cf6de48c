"""Many trials at once in one process: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from pytest_goat.open_files import allow_open_files
from pytest_goat.result import TrialResult
from pytest_goat.task import Trial
from pytest_goat.trial import Rig, TrialOutput, run_trial

T = TypeVar("T")

STOP_DEADLINE = 10.0
"""Seconds within which `stop` ends trials and sandboxes."""
CUT_DEADLINE = 1.0
"""Seconds for what is cut off after that."""

GARBAGE = 10_000
"""New objects after which Python looks for garbage. It looks at all that is young, and what a thousand trials
hold is young for long: at its own 700, that takes a third of their time.
"""

Keep = Callable[[TrialOutput], TrialResult]
"""Stores a finished trial, and gives what was stored; called in a thread, before anyone hears of it."""


class Scheduler:
    """Runs trials in `slots` slots; what is given beyond that waits for one, in order.

    Its methods are called from other threads than the loop's. A trial's future gets the result once it is
    stored; storing that fails is the future's exception.
    """

    def __init__(self, rig: Rig, slots: int, keep: Keep) -> None:
        self._rig, self._keep, self._count = rig, keep, slots
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(slots)
        self._thread = threading.Thread(target=self._loop.run_forever, name="goat-trials", daemon=True)
        self._trials: set[asyncio.Task[TrialResult]] = set()
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        """Start the loop, the gateway and the backend. Raises `UserError` when one cannot work here."""
        allow_open_files(self._count)
        after, *others = self._thresholds
        if after:  # 0: somebody wants none to be looked for
            gc.set_threshold(max(after, GARBAGE), *others)
        self._thread.start()
        self.call(self._rig.gateway.start())
        self.call(self._rig.backend.start())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait for its value."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def submit(self, trial: Trial, done: Callable[[], None] | None = None) -> Future[TrialResult]:
        """Run `trial` when a slot is free; `done` is called, on the loop's thread, at its end."""
        future = asyncio.run_coroutine_threadsafe(self._run(trial), self._loop)
        if done is not None:
            future.add_done_callback(lambda _: done())
        return future

    def stop(self) -> None:
        """End what is running and give back everything, within `STOP_DEADLINE` seconds."""
        gc.set_threshold(*self._thresholds)
        if not self._thread.is_alive():
            self._loop.close()
            return
        ending = asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop)
        try:
            ending.result(STOP_DEADLINE)
        except (TimeoutError, KeyboardInterrupt):
            pass  # nobody wants to wait longer; what is left then, the backend tells
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            _cut_off(self._loop)
            self._loop.close()

    async def _run(self, trial: Trial) -> TrialResult:
        task = asyncio.current_task()
        if task is not None:
            self._trials.add(task)
            task.add_done_callback(self._trials.discard)
        async with self._slots:
            output = await run_trial(trial, self._rig)
        # The next trial need not wait for the disk.
        return await asyncio.to_thread(self._keep, output)

    async def _shut_down(self) -> None:
        trials = list(self._trials)
        for task in trials:
            task.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        await self._rig.backend.stop()
        await self._rig.gateway.stop()
        await self._loop.shutdown_default_executor()


def _cut_off(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is not done: without its loop it would be told as an error."""
    if tasks := asyncio.all_tasks(loop):
        loop.set_exception_handler(lambda loop, context: None)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=CUT_DEADLINE))

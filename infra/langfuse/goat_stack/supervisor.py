"""Starts the stack from what the volume holds, keeps the volume up to date, and stops it all cleanly."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from goat_stack.epochs import Epoch
from goat_stack.errors import StackError, SupersededError
from goat_stack.generations import Generations, find_backup
from goat_stack.settings import Settings
from goat_stack.stack import Stack
from goat_stack.stores.base import Part, Store
from goat_stack.stores.postgres import Postgres, first_kept_segment

log = logging.getLogger("goat_stack")

TICK = 0.2
"""Seconds between looks at the processes."""
FENCE_SECONDS = 10.0
"""The longest that an older stack goes on beside a newer one whose epoch it can see."""
RESTARTS = 3
RESTART_WINDOW = 600.0
"""A part that dies more than RESTARTS times within these seconds ends the stack."""


class _StopAskedError(Exception):
    """The stack was told to stop while it was starting."""


@dataclass
class Keeper:
    """Keeps one store's snapshots; after a failure it begins anew with a full one."""

    store: Store
    generations: Generations
    _full_due: bool = True

    def keep(self, full: bool) -> None:
        """Take a snapshot and keep it; raises StackError."""
        full = full or self._full_due
        self._full_due = True
        if snapshot := self.store.snapshot(full):
            (self.generations.begin if full else self.generations.add)(snapshot)
        self._full_due = False


class Supervisor:
    """Runs `stack` until `stop` is set, a part dies for good, or a newer epoch takes over."""

    def __init__(self, settings: Settings, stack: Stack, epoch: Epoch, stop: threading.Event) -> None:
        self._settings = settings
        self._stack = stack
        self._epoch = epoch
        self._stop = stop
        self._keepers = [Keeper(store, Generations(epoch, store.name)) for store in stack.stores]
        self._started: list[Part] = []
        self._deaths: dict[str, deque[float]] = defaultdict(deque)
        self._ready = False

    def run(self) -> None:
        """Blocks. Raises StackError with what ended it, unless that was `stop` and all data is kept."""
        try:
            with contextlib.suppress(_StopAskedError):
                self._boot()
                self._watch()
        except SupersededError:
            self._ready = False
            raise
        finally:
            kept = self._shut_down()
        if not kept:
            raise StackError("stopped, but what was written last is not kept: the lines above say why")

    def _boot(self) -> None:
        for store in self._stack.stores:
            with self._epoch.lock:  # no reload while files of the volume are open
                backup = find_backup(self._epoch.volume.path, store.name)
                store.prepare(backup)
            self._start(store)
            with self._epoch.lock:
                store.finish()
            origin = f"restored from {backup.epoch.name}/{backup.folder.name}" if backup else "new and empty"
            log.info("%s is up, %s", store.name, origin)
        # Nothing is written by users before this epoch can be restored from.
        self._keep(full=True, strict=True)
        self._epoch.mark_ready()
        self._ready = True
        for program in self._stack.programs:
            self._start(program)
            log.info("%s is up", program.name)
        log.info("ready: Langfuse answers on port %d, epoch %s", self._settings.port, self._epoch.name)

    def _start(self, part: Part) -> None:
        if part not in self._started:
            self._started.append(part)
        part.start()
        deadline = time.monotonic() + self._settings.start_seconds
        pause = 0.05
        while not part.healthy():
            if not part.running():
                raise StackError(f"{part.name} ended during its start: its own lines above say why")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{part.name} did not answer within {self._settings.start_seconds} s of its start"
                )
            if self._stop.wait(pause):
                raise _StopAskedError
            pause = min(2 * pause, 0.4)

    def _watch(self) -> None:
        fence = snapshot = base = time.monotonic()
        while not self._stop.wait(TICK):
            self._revive()
            now = time.monotonic()
            if now - fence >= min(FENCE_SECONDS, self._settings.snapshot_seconds):
                fence = now
                self._check_epoch()
            if now - base >= self._settings.base_seconds:
                base = snapshot = now
                self._keep(full=True)
            elif now - snapshot >= self._settings.snapshot_seconds:
                snapshot = now
                self._keep(full=False)

    def _revive(self) -> None:
        """Start again what has died; raises StackError when that happens too often."""
        for part in [part for part in self._started if not part.running()]:
            deaths = self._deaths[part.name]
            deaths.append(time.monotonic())
            while deaths[0] < time.monotonic() - RESTART_WINDOW:
                deaths.popleft()
            if len(deaths) > RESTARTS:
                raise StackError(
                    f"{part.name} has died {len(deaths)} times within {RESTART_WINDOW:.0f} s: giving up"
                )
            log.error("%s has died: starting it again (%d of %d)", part.name, len(deaths), RESTARTS)
            part.stop()
            try:
                self._start(part)
            except StackError as error:
                log.error("%s", error)
                part.stop()

    def _check_epoch(self) -> None:
        try:
            self._epoch.check()
        except SupersededError:
            raise
        except StackError as error:
            log.error("%s", error)

    def _keep(self, *, full: bool, strict: bool = False) -> bool:
        """Snapshot all stores; whether that went well. What fails is logged, or raised when `strict`."""
        kept = True
        for keeper in self._keepers:
            try:
                keeper.keep(full)
                if full and isinstance(keeper.store, Postgres):
                    oldest = [path.name for path in keeper.generations.oldest()]
                    self._stack.archive.prune(first_kept_segment(oldest))
            except SupersededError:
                raise
            except StackError as error:
                if strict:
                    raise
                log.error("no snapshot of %s: %s", keeper.store.name, error)
                kept = False
        return kept

    def _shut_down(self) -> bool:
        """End the programs, then the stores; whether all that the stores hold is kept, if it may be."""
        stores = [part for part in self._started if part in self._stack.stores]
        _stop_all([part for part in self._started if part not in stores])
        kept = True
        try:
            if self._ready:
                kept = self._keep(full=False)
        finally:
            _stop_all(stores)
        if self._ready and self._stack.postgres and (waiting := self._stack.postgres.unarchived()):
            log.error("%d segments of Postgres's log could not be archived", waiting)
            kept = False
        return kept


def _stop_all(parts: Sequence[Part]) -> None:
    """Stop them at the same time: each may need some of the few seconds that a container has."""

    def stop(part: Part) -> None:
        part.stop()
        log.info("%s is stopped", part.name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(stop, parts))

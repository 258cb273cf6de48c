"""Which sandboxes live, and how they are ended: nothing that we made is to outlive us."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pytest_goat.cloud import names
from pytest_goat.cloud.client import connect, within
from pytest_goat.cloud.errors import Verdict, user_error, verdict

if TYPE_CHECKING:
    from modal import Sandbox

RUN_TAG, TRIAL_TAG, WORKER_TAG = "goat-run", "goat-trial", "goat-worker"
END_WITHIN = 6.0
"""Seconds."""
LIST_WITHIN = 5.0
SETTLE = 2.0
"""Seconds after which a sandbox is listed whose making was cut off on our side."""


class Ledger:
    """The sandboxes of this process that live, as far as we know. Each, and all, are to end in `seconds`."""

    def __init__(self, seconds: float = END_WITHIN) -> None:
        self._seconds = seconds
        self._boxes: dict[str, Sandbox] = {}

    def __len__(self) -> int:
        return len(self._boxes)

    def add(self, box: Sandbox) -> None:
        self._boxes[box.object_id] = box

    async def end(self, box: Sandbox) -> None:
        """Terminate `box`. Never raises: one that cannot be reached stays in the ledger."""
        try:
            await within(box.terminate.aio(), self._seconds, "ending a sandbox")
        except Exception as error:
            if verdict(error) is not Verdict.MISSING:
                return
        self._boxes.pop(box.object_id, None)
        with contextlib.suppress(Exception):
            await within(box.detach.aio(), self._seconds, "detaching")  # type: ignore[no-untyped-call]

    async def end_all(self) -> None:
        """Terminate all at once."""
        await asyncio.gather(*(self.end(box) for box in list(self._boxes.values())))

    async def sweep(self, app_id: str, tags: Mapping[str, str], *, twice: bool = False) -> int:
        """End the sandboxes of an app that have all of `tags`, whoever made them; how many there were.

        Looks again after `SETTLE` seconds when something was found, or when `twice` says that some may be in
        the making. Never raises: what cannot be reached stays here, or ends with its lifetime.
        """
        found = await self._sweep(app_id, tags)
        if found or twice:
            await asyncio.sleep(SETTLE)
            found |= await self._sweep(app_id, tags)
        return len(found)

    async def _sweep(self, app_id: str, tags: Mapping[str, str]) -> set[str]:
        boxes: list[Sandbox] = []
        with contextlib.suppress(Exception):
            boxes = await _list(app_id, tags)
        for box in boxes:
            self.add(box)
        await asyncio.gather(*(self.end(box) for box in boxes))
        return {box.object_id for box in boxes}

    def end_all_now(self) -> None:
        """The same from wherever we are, be it a signal handler or the end of Python, and without a loop."""
        if not self._boxes:
            return
        # A loop may be running in this thread.
        worker = threading.Thread(target=lambda: asyncio.run(self.end_all()), daemon=True)
        worker.start()
        worker.join(self._seconds + 1)


async def _list(app_id: str, tags: Mapping[str, str]) -> list[Sandbox]:
    import modal

    async def listed() -> list[Sandbox]:
        return [box async for box in modal.Sandbox.list.aio(app_id=app_id, tags=dict(tags))]

    return await within(listed(), LIST_WITHIN, "listing sandboxes")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A sandbox that was still alive."""

    id: str
    run: str
    trial: str


async def cleanup(
    environment: str, run_id: str | None = None, older_than: float | None = None
) -> list[Leftover]:
    """End the sandboxes that runs have left behind: of the run `run_id`, or of all.

    `older_than`: only of runs that began so many seconds ago. Raises `UserError` when Modal is out of reach.
    """
    ledger, ended = Ledger(), []
    for box, left in await _alive(environment, {RUN_TAG: run_id} if run_id else {}):
        if older_than is None or _age(left.run) >= older_than:
            ledger.add(box)
            ended.append(left)
    await ledger.end_all()
    return ended


async def leftovers(environment: str) -> list[Leftover]:
    """The sandboxes that live, those of runs that are under way too. Raises `UserError` as `cleanup`."""
    return [left for _, left in await _alive(environment, {})]


async def _alive(environment: str, tags: Mapping[str, str]) -> list[tuple[Sandbox, Leftover]]:
    import modal

    connection = await connect(environment)
    try:
        app = await modal.App.lookup.aio(
            names.SANDBOX_APP, client=connection.client, environment_name=environment
        )
    except modal.exception.NotFoundError:
        return []  # no sandbox was ever made
    except Exception as error:
        raise user_error(error, "looking for sandboxes") from error
    try:
        boxes = await _list(app.app_id or "", tags)
        told = await asyncio.gather(
            *(within(box.get_tags.aio(), LIST_WITHIN, "reading a sandbox's tags") for box in boxes)
        )
    except Exception as error:
        raise user_error(error, "looking for sandboxes") from error
    return [
        (box, Leftover(box.object_id, tags.get(RUN_TAG, ""), tags.get(TRIAL_TAG, "")))
        for box, tags in zip(boxes, told, strict=True)
    ]


def _age(run_id: str) -> float:
    """Seconds since a run began, as its id says; one of any other form is old."""
    try:
        began = datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return float("inf")
    return (datetime.fromtimestamp(time.time(), UTC) - began) / timedelta(seconds=1)

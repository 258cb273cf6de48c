"""The rate of creations: shared by processes, slowed by quotas."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.cloud import limiter
from pytest_goat.cloud.limiter import CreationLimiter
from pytest_goat.shared import SharedRecord
from tests.support.modal import ROOT

SLOTS = """
import asyncio, sys, time
from pathlib import Path
from pytest_goat.cloud.limiter import CreationLimiter

async def main():
    limiter = CreationLimiter(float(sys.argv[2]), Path(sys.argv[1]))
    for _ in range(5):
        await limiter.slot()
        print(time.time())

asyncio.run(main())
"""


async def slots(limiter: CreationLimiter, count: int) -> list[float]:
    """When each of `count` callers had its slot."""

    async def one() -> float:
        await limiter.slot()
        return time.time()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


def test_slots_come_at_the_rate(tmp_path: Path) -> None:
    started = time.time()
    times = asyncio.run(slots(CreationLimiter(50.0, tmp_path), 11))
    assert times[-1] - started >= 10 / 50


def test_processes_share_the_rate(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOTS, str(tmp_path), "10"]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    times = sorted(float(line) for process in started for line in process.communicate(timeout=60)[0].split())
    assert len(times) == 15
    # Five slots of one process take 0.4 s. The first one may be noticed late.
    assert times[-1] - times[0] >= 14 / 10 - 0.4


def stored(folder: Path) -> dict[str, float]:
    return dict(json.loads((folder / "modal-creations.json").read_text()))


def test_a_quota_slows_all_until_a_sandbox_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "_FIRST_PAUSE", 0.1)
    one, other = (CreationLimiter(1000.0, tmp_path) for _ in range(2))

    async def twice() -> float:
        one.refused(await one.slot())
        one.refused(await one.slot(again=True))
        started = time.time()
        await other.slot()
        return time.time() - started

    assert asyncio.run(twice()) >= 0.2  # the second time in a row, twice as long
    assert stored(tmp_path)["share"] < 0.3  # half of the half, and a little time went by
    other.granted()
    assert stored(tmp_path)["pause"] == 0
    one.refused(time.time())
    assert stored(tmp_path)["pause"] == 0.1


def test_answers_to_what_was_asked_before_slow_no_further(tmp_path: Path) -> None:
    limiter = CreationLimiter(1000.0, tmp_path)

    async def many() -> None:
        for slot in [await limiter.slot() for _ in range(20)]:
            limiter.refused(slot)

    asyncio.run(many())
    assert (stored(tmp_path)["share"], stored(tmp_path)["pause"]) == (0.5, 1.0)


def test_a_quota_takes_back_the_slots_of_those_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "_FIRST_PAUSE", 0.2)
    rate = CreationLimiter(100.0, tmp_path)

    async def after_a_refusal() -> list[float]:
        waiting = asyncio.ensure_future(slots(rate, 10))
        began = await rate.slot(again=True)
        rate.refused(began)
        return [when - began for when in await waiting]

    # The first may have been given before.
    assert [waited >= 0.2 for waited in asyncio.run(after_a_refusal())[1:]] == [True] * 9


def test_who_was_refused_comes_before_all_who_wait(tmp_path: Path) -> None:
    rate = CreationLimiter(100.0, tmp_path)
    order: list[str] = []

    async def one(name: str, *, again: bool) -> None:
        await rate.slot(again=again)
        order.append(name)

    async def all_of_them() -> None:
        waiting = [asyncio.ensure_future(one("new", again=False)) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.gather(one("refused", again=True), *waiting)

    asyncio.run(all_of_them())
    assert order.index("refused") <= 2


def test_the_rate_grows_again_after_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(limiter, "_DOUBLING", 0.05)
    (tmp_path / "modal-creations.json").write_text(json.dumps({"share": 0.25, "resumed": time.time()}))
    times = asyncio.run(slots(CreationLimiter(200.0, tmp_path), 60))
    # All at a quarter of the rate would take 1.2 s, and at the whole one 0.3 s.
    assert 0.3 <= times[-1] - times[0] < 1.0


def test_a_loop_that_is_held_up_loses_no_slots(tmp_path: Path) -> None:
    async def held_up() -> float:
        started = time.time()
        waiting = asyncio.ensure_future(slots(CreationLimiter(100.0, tmp_path), 101))
        while not waiting.done():
            await asyncio.sleep(0)
            time.sleep(0.05)  # what blocks the loop
        return max(await waiting) - started

    # A slot for each time that the loop comes round would take 5 s.
    assert 1.0 <= asyncio.run(held_up()) < 3.0


def test_many_who_wait_take_their_slots_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = 0
    changed = SharedRecord.changed

    def counted(record: SharedRecord[Any]) -> AbstractContextManager[Any]:
        nonlocal changes
        changes += 1
        return changed(record)

    monkeypatch.setattr(SharedRecord, "changed", counted)
    asyncio.run(slots(CreationLimiter(1_000_000.0, tmp_path), 1000))
    assert changes <= 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"next": 99999999999, "pause": 0}'])
def test_a_broken_file_or_clock_holds_nothing_up(tmp_path: Path, content: str) -> None:
    (tmp_path / "modal-creations.json").write_text(content)
    asyncio.run(asyncio.wait_for(CreationLimiter(1000.0, tmp_path).slot(), 5))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        CreationLimiter(5.0, tmp_path)

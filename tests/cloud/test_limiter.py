"""The rate of creations: shared by processes, slowed by quotas."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_goat.cloud import limiter
from pytest_goat.cloud.limiter import CreationLimiter
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


def test_a_quota_slows_all_until_a_sandbox_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "_FIRST_PAUSE", 0.1)
    one, other = (CreationLimiter(1000.0, tmp_path) for _ in range(2))
    one.refused()
    one.refused()
    started = time.time()
    asyncio.run(other.slot())
    assert time.time() - started >= 0.2  # the second time in a row, twice as long
    other.granted()
    one.refused()
    assert json.loads((tmp_path / "modal-creations.json").read_text())["pause"] == 0.1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"next": 99999999999, "pause": 0}'])
def test_a_broken_file_or_clock_holds_nothing_up(tmp_path: Path, content: str) -> None:
    (tmp_path / "modal-creations.json").write_text(content)
    asyncio.run(asyncio.wait_for(CreationLimiter(1000.0, tmp_path).slot(), 5))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        CreationLimiter(5.0, tmp_path)

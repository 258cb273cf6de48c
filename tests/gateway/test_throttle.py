"""The pace that a rate limit sets: by a clock that jumps, but where processes share it."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from pytest_goat.gateway.throttle import (
    FIRST_PAUSE,
    FORGET,
    HOPE,
    LONGEST_PAUSE,
    LONGEST_RETRY_AFTER,
    Throttle,
    retry_after,
)
from tests.support.modal import ROOT
from tests.support.virtual_time import EPOCH, run_virtually

Work = Callable[[Throttle], Awaitable[None]]


def now() -> float:
    return asyncio.get_running_loop().time()


def by_virtual_clock(folder: Path, work: Work) -> None:
    async def main() -> None:
        await work(Throttle("quota", folder, clock=now))

    run_virtually(main())


@dataclass
class Limit:
    """A provider that takes `most` calls in each window of `window` seconds."""

    most: int
    window: float
    tells: bool
    """It says in Retry-After when the next window begins."""

    def __post_init__(self) -> None:
        self.taken: Counter[int] = Counter()
        self.refusals = 0

    def ask(self) -> tuple[bool, float | None]:
        number, into = divmod(now() - EPOCH, self.window)
        if self.taken[int(number)] < self.most:
            self.taken[int(number)] += 1
            return True, None
        self.refusals += 1
        return False, self.window - into if self.tells else None


async def call(throttle: Throttle, limit: Limit) -> int:
    """One call until it is answered; how often it was refused."""
    refusals = 0
    while True:
        if not throttle.take():
            assert await throttle.wait(math.inf)
        sent = now()
        await asyncio.sleep(0.05)
        answered, after = limit.ask()
        if answered:
            throttle.granted(sent)
            return refusals
        refusals += 1
        throttle.refused(sent, after)


@pytest.mark.parametrize(
    ("containers", "tells", "refusals"), [(1, True, 3), (1, False, 14), (4, True, 6), (4, False, 24)]
)
def test_a_limit_is_used_up_with_few_refusals(
    tmp_path: Path, containers: int, tells: bool, refusals: int
) -> None:
    """By containers that know nothing of each other and are called in turn, too."""
    limit = Limit(60, 60.0, tells)

    async def caller(throttles: Iterator[Throttle]) -> int:
        worst = 0
        for _ in range(30):
            worst = max(worst, await call(next(throttles), limit))
            await asyncio.sleep(2)
        return worst

    async def work(throttle: Throttle) -> None:
        others = [Throttle("quota", tmp_path / f"{n}", clock=now) for n in range(1, containers)]
        turns = cycle([throttle, *others])
        worst = await asyncio.gather(*(caller(turns) for _ in range(16)))
        assert max(worst) < 8
        # 480 calls fill eight windows; the first one ends with all sixteen callers refused at once.
        windows = (now() - EPOCH) / 60
        assert windows <= 8 * 1.25
        assert limit.refusals <= 16 + refusals * windows

    by_virtual_clock(tmp_path, work)


def test_refusals_that_no_rate_explains_do_not_slow_calls_down_for_ever(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        began = now()
        for _ in range(50):  # an overloaded provider refuses each call once, however late it comes
            assert throttle.take() or await throttle.wait(math.inf)
            throttle.refused(now(), None)
            assert await throttle.wait(math.inf)
            sent = now()
            await asyncio.sleep(1)
            throttle.granted(sent)
        assert (now() - began) / 50 < 15

    by_virtual_clock(tmp_path, work)


@pytest.mark.parametrize("said", [0.3, 2.0, 45.0])
def test_nobody_comes_back_before_the_provider_wants(tmp_path: Path, said: float) -> None:
    async def work(throttle: Throttle) -> None:
        sent = now()
        assert throttle.take()
        assert said <= throttle.refused(sent, said) <= said + min(said / 4, 2.0)
        assert not throttle.take()
        assert await throttle.wait(math.inf)
        assert now() - sent >= said

    by_virtual_clock(tmp_path, work)


def test_without_a_word_pauses_double_up_to_a_minute(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        pauses = []
        for _ in range(6):
            sent = now()
            pauses.append(throttle.refused(sent, None))
            await throttle.wait(math.inf)
        least = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(6)]
        assert all(low <= pause <= 1.25 * low for low, pause in zip(least, pauses, strict=True))

    by_virtual_clock(tmp_path, work)


def test_refusals_of_calls_sent_together_are_one(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        sent = now()
        first = throttle.refused(sent, None)
        assert [throttle.refused(sent - 0.1, None) for _ in range(15)] == [first] * 15

    by_virtual_clock(tmp_path, work)


def test_after_a_pause_callers_come_one_by_one(tmp_path: Path) -> None:
    came: list[float] = []

    async def caller(throttle: Throttle) -> None:
        assert await throttle.wait(math.inf)
        came.append(now())
        await asyncio.sleep(0.1)
        throttle.granted(came[-1])

    async def work(throttle: Throttle) -> None:
        throttle.refused(now(), 10.0)
        await asyncio.gather(*(caller(throttle) for _ in range(16)))
        distances = [later - earlier for earlier, later in pairwise(came)]
        assert distances[0] >= 0.1  # nobody goes with the first
        assert distances[0] > distances[3] > distances[6]
        assert came[-1] - came[0] < 5

    by_virtual_clock(tmp_path, work)


def test_two_throttles_pause_for_different_times(tmp_path: Path) -> None:
    pauses = {Throttle(str(n), tmp_path).refused(time.time(), 4.0) for n in range(8)}
    assert len({round(pause, 3) for pause in pauses}) > 4


def test_patience_ends_a_wait(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        throttle.refused(now(), 10.0)
        began = now()
        assert not await throttle.wait(3.0)
        assert now() - began == pytest.approx(3.0)
        assert throttle.waiting == 0

    by_virtual_clock(tmp_path, work)


def test_without_any_answer_hope_ends(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        began = now()
        while throttle.refused(now(), None) != math.inf:
            waiting = asyncio.create_task(throttle.wait(math.inf))
            assert await throttle.wait(math.inf)
            waiting.cancel()
        assert HOPE / 2 < now() - began <= HOPE
        # Those that wait are not kept waiting, either.
        assert not await throttle.wait(math.inf)

    by_virtual_clock(tmp_path, work)


def test_time_without_calls_takes_no_hope(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        throttle.refused(now(), None)
        await asyncio.sleep(HOPE + LONGEST_PAUSE)
        assert throttle.take()
        assert throttle.refused(now(), None) < LONGEST_PAUSE

    by_virtual_clock(tmp_path, work)


def test_a_wait_that_is_too_long_is_none(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        assert throttle.refused(now(), LONGEST_RETRY_AFTER + 1) == math.inf
        assert throttle.take()

    by_virtual_clock(tmp_path, work)


def test_after_a_long_time_calls_go_as_they_come(tmp_path: Path) -> None:
    async def work(throttle: Throttle) -> None:
        throttle.refused(now(), None)
        await throttle.wait(math.inf)
        assert not throttle.take()
        await asyncio.sleep(FORGET + LONGEST_PAUSE)
        assert all(throttle.take() for _ in range(100))

    by_virtual_clock(tmp_path, work)


def test_one_limit_does_not_slow_another(tmp_path: Path) -> None:
    slow, other = Throttle("a", tmp_path), Throttle("b", tmp_path)
    slow.refused(time.time(), 60.0)
    assert (slow.take(), other.take()) == (False, True)


def test_no_key_shows_in_the_folder(tmp_path: Path) -> None:
    Throttle("https://x/v1\nsk-very-secret-key\nmodel", tmp_path).refused(time.time(), 1.0)
    (file,) = tmp_path.iterdir()
    assert "secret" not in file.name + file.read_text()


WAITER = """
import asyncio, sys, time
from pathlib import Path
from pytest_goat.gateway.throttle import Throttle

throttle = Throttle("quota", Path(sys.argv[1]))
assert not throttle.take()
assert asyncio.run(throttle.wait(30))
print(time.time())
"""


def test_processes_share_the_pause(tmp_path: Path) -> None:
    refused = time.time()
    Throttle("quota", tmp_path).refused(refused, 2.0)
    waiters = [
        subprocess.Popen(
            [sys.executable, "-c", WAITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    came = sorted(float(waiter.communicate(timeout=60)[0]) for waiter in waiters)
    assert came[0] >= refused + 2.0
    assert came[1] - came[0] >= 0.9 * FIRST_PAUSE


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "7", "retry-after-ms": "6400"}, 6.4),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_what_a_provider_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, 1_000_000.0) == seconds

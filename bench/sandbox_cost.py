"""What a local sandbox costs: `python -m bench.sandbox_cost [--engine ns] [--trials 100] [--at-once 64]`.

One trial is what the harness does for a real one, with programs that do nothing: open, a command, three small
files in and out, another command, close. All figures are medians of one run; the ratio is to starting and
reaping the same two programs as bare processes, measured in turn with the trials.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import time
from collections import defaultdict
from pathlib import Path

from pytest_goat.sandbox.base import File, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.sandbox.local.sandbox import LocalSandbox

FILES = {
    "a.txt": File(b"one\n"),
    "b/c.py": File(b"print(1)\n" * 100),
    "run.sh": File(b"#!/bin/sh\n", executable=True),
}
STEPS = ("open", "exec 1", "put", "exec 2", "take", "close")


async def trial(backend: LocalBackend, times: dict[str, list[float]]) -> None:
    """One trial, step by step; appends milliseconds."""
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    sandbox = await backend.open(SandboxSpec("bench", attach=lambda listener, _: listener.close()))
    mark()
    await sandbox.exec(["true"], timeout=60)
    mark()
    await sandbox.put(FILES)
    mark()
    await sandbox.exec(["true"], timeout=60)
    mark()
    taken = await sandbox.take()
    mark()
    await sandbox.close()
    mark()
    assert taken.files == FILES
    for step, before, after in zip(STEPS, marks, marks[1:], strict=False):
        times[step].append(1000 * (after - before))
    times["trial"].append(1000 * (marks[-1] - marks[0]))


def bare() -> float:
    """Milliseconds of the same two programs without any sandbox."""
    begun = time.perf_counter()
    for _ in range(2):
        subprocess.run(["/bin/true"], check=True)
    return 1000 * (time.perf_counter() - begun)


async def at_once(backend: LocalBackend, count: int) -> tuple[float, float, int]:
    """Open `count` sandboxes together, run a command in each, and close them.

    Returns seconds until all have run, seconds to close them, and bytes of memory that one takes (the sum of
    what the launcher's processes have to themselves and their part of what they share, divided).
    """

    async def one(number: int) -> LocalSandbox:
        sandbox = await backend.open(SandboxSpec(f"bench-{number}"))
        await sandbox.exec(["true"], timeout=60)
        return sandbox

    begun = time.perf_counter()
    sandboxes = await asyncio.gather(*(one(number) for number in range(count)))
    ran = time.perf_counter()
    memory = launcher_memory() // count
    closing = time.perf_counter()
    await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
    return ran - begun, time.perf_counter() - closing, memory


def launcher_memory() -> int:
    """Proportional memory of every process that runs the launcher, in bytes."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"launcher.py" not in (path / "cmdline").read_bytes():
                continue
            lines = (path / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


async def measure(engine: str, trials: int, count: int) -> None:
    backend = LocalBackend(engine, unsafe=engine == "none")
    begun = time.perf_counter()
    await backend.start()
    started = time.perf_counter() - begun
    print(backend.description)
    times: dict[str, list[float]] = defaultdict(list)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(trials):
        times["bare"].append(bare())
        await trial(backend, times)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1, "descriptors are left open"
    together, closed, memory = await at_once(backend, count)
    await backend.stop()

    print(f"{'start of the backend':28}{1000 * started:9.1f} ms")
    for step in STEPS:
        print(f"{step:28}{statistics.median(times[step]):9.2f} ms")
    whole, floor = statistics.median(times["trial"]), statistics.median(times["bare"])
    print(f"{'one trial':28}{whole:9.2f} ms")
    print(f"{'two bare processes':28}{floor:9.2f} ms   ratio {whole / floor:.1f}")
    print(f"{f'{count} at once, all have run':28}{1000 * together:9.0f} ms   {count / together:.0f} a second")
    print(f"{f'{count} at once, closed':28}{1000 * closed:9.0f} ms")
    print(f"{'memory of one':28}{memory / 2**20:9.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="ns")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=64)
    given = parser.parse_args()
    asyncio.run(measure(given.engine, given.trials, given.at_once))

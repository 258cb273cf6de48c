"""What a local sandbox costs: `python -m bench.sandbox_cost [ENGINE] [--at-once N]`.

One trial is what the harness does for a real one, with programs that do nothing: open, a command, three small
files in and out, another command, close. Every figure is a median; the ratio is to starting and reaping the
same two programs as bare processes, measured in turn with the trials.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.base import Options, Row, table
from pytest_goat.sandbox.base import File, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.sandbox.local.sandbox import LocalSandbox

FILES = {"a.txt": File(b"one\n"), "b/c.py": File(b"print(1)\n" * 100), "run.sh": File(b"#!/bin/sh\n", True)}
STEPS = ("open", "first command", "put", "second command", "take", "close")
Times = defaultdict[str, list[float]]


def measure(options: Options, engine: str = "ns", count: int = 64) -> Iterator[Row]:
    """Rows for `engine`: the steps of a trial one after the other, then `count` sandboxes at once."""
    trials = 30 if options.quick else 200
    yield from asyncio.run(_measure(engine, trials, count))


async def _measure(engine: str, trials: int, count: int) -> list[Row]:
    backend = LocalBackend(engine, unsafe=engine == "none")
    begun = time.perf_counter()
    await backend.start()
    started = time.perf_counter() - begun
    times: Times = defaultdict(list)
    for _ in range(trials):
        times["bare"].append(bare())
        await trial(backend, times)
    opened, closed, memory = await at_once(backend, count)
    await backend.stop()
    middle = {what: statistics.median(figures) for what, figures in times.items()}
    return [
        Row("sandbox: start of the backend", started * 1000, "ms", note=backend.description),
        *(Row(f"sandbox: {step}", middle[step], "ms") for step in STEPS),
        Row("sandbox: one trial", middle["trial"], "ms", note=f"median of {trials}, one at a time"),
        Row("sandbox: two bare processes", middle["bare"], "ms"),
        Row("sandbox: trial over bare processes", middle["trial"] / middle["bare"], "x"),
        Row(f"sandbox: {count} at once, open and run", opened * 1000, "ms"),
        Row(f"sandbox: {count} at once, close", closed * 1000, "ms"),
        Row(
            "sandbox: memory of one",
            memory / 2**20,
            "MB",
            note="proportional, its init and its part of the launcher",
        ),
    ]


async def trial(backend: LocalBackend, times: Times) -> None:
    """One trial, step by step; appends milliseconds."""
    marks = [time.perf_counter()]
    sandbox = await backend.open(SandboxSpec("bench", attach=lambda listener, _: listener.close()))
    marks.append(time.perf_counter())
    await sandbox.exec(["true"], timeout=60)
    marks.append(time.perf_counter())
    await sandbox.put(FILES)
    marks.append(time.perf_counter())
    await sandbox.exec(["true"], timeout=60)
    marks.append(time.perf_counter())
    taken = await sandbox.take()
    marks.append(time.perf_counter())
    await sandbox.close()
    marks.append(time.perf_counter())
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


async def at_once(backend: LocalBackend, count: int) -> tuple[float, float, float]:
    """Open `count` sandboxes together, run a command in each, and close them.

    Gives seconds until all have run, seconds to close them, and bytes of memory that one takes.
    """

    async def one(number: int) -> LocalSandbox:
        sandbox = await backend.open(SandboxSpec(f"bench-{number}"))
        await sandbox.exec(["true"], timeout=60)
        return sandbox

    begun = time.perf_counter()
    sandboxes = await asyncio.gather(*(one(number) for number in range(count)))
    opened = time.perf_counter() - begun
    memory = launcher_memory() / count
    begun = time.perf_counter()
    for sandbox in sandboxes:
        await sandbox.close()
    for sandbox in sandboxes:
        await sandbox.gone()
    return opened, time.perf_counter() - begun, memory


def launcher_memory() -> int:
    """Proportional memory of every process that runs the launcher, in bytes."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"launcher.py" in (path / "cmdline").read_bytes():
                lines = (path / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except OSError:
            continue  # it has ended
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m bench.sandbox_cost", description="What a local sandbox costs."
    )
    parser.add_argument("engine", nargs="?", default="ns", choices=["ns", "landlock", "none"])
    parser.add_argument("--at-once", type=int, default=64, metavar="N")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    given = parser.parse_args()
    print(table(list(measure(Options(quick=given.quick), given.engine, given.at_once))))

"""What the harness takes for a trial, beside Inspect AI for the same work.

The work: one sandbox, one agent process (`bash -c "echo done > x"`), one check process
(`bash -c "test -f x"`), the record on the disk; no model call. Here it is the `oracle` agent in an isolated
local sandbox; there a solver and a scorer on Inspect's `local` sandbox, which isolates nothing. A trial takes
the time of a whole run of N less that of a run of one, divided by N - 1: what a run costs once is a row of
its own.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.base import Budget, Options, Row
from bench.processes import Done, pytest_command, run, venv_with
from bench.timing import interleaved, medians

INSPECT = "inspect_ai==0.3.285"
WORK, PROOF = "echo done > x", "test -f x"
GOAT, PEER = "goat", "Inspect"
TASK = """\
- id: task-{number}
  prompt: task {number}
  checks: [{{run: "{proof}"}}]
  solution: {{run: "{work}"}}
"""
MODES = {"one at a time": 1, "default parallelism": 0}
"""How many trials at once; 0: what the harness chooses."""


def write_tasks(folder: Path, count: int, work: str = WORK) -> Path:
    """A suite of `count` tasks whose solution is `work`."""
    folder.mkdir()
    (folder / "goat.yaml").touch()
    tasks = (TASK.format(number=number, work=work, proof=PROOF) for number in range(count))
    (folder / "tasks.yaml").write_text("".join(tasks))
    return folder


def measure(options: Options) -> Iterator[Row]:
    count, rounds = (100, 3) if options.quick else (200, 5)
    inspect = venv_with(INSPECT) / "python"
    with tempfile.TemporaryDirectory() as scratch:
        one, many = write_tasks(Path(scratch, "one"), 1), write_tasks(Path(scratch, "many"), count)
        isolation = isolation_in(goat_run(one, 1))
        logs = Path(scratch, "logs")
        kinds = {
            f"{GOAT} 1": partial(goat_seconds, one, 1),
            f"{PEER} 1": partial(inspect_seconds, inspect, 1, 1, logs),
            "floor": partial(floor_seconds, one, count),
        }
        for mode, parallel in MODES.items():
            kinds[f"{GOAT} {mode}"] = partial(goat_seconds, many, count, parallel)
            kinds[f"{PEER} {mode}"] = partial(inspect_seconds, inspect, count, parallel, logs)
        taken = medians(interleaved(kinds, rounds))
    for mode in MODES:
        ours, theirs = ((taken[f"{side} {mode}"] - taken[f"{side} 1"]) / (count - 1) for side in (GOAT, PEER))
        note = (
            f"{ours * 1000:.1f} ms in {isolation}; {INSPECT}, not isolated, {theirs * 1000:.1f} ms; "
            f"two bare processes {taken['floor'] * 1000:.1f} ms; {rounds} rounds of {count}"
        )
        ratio = ours / theirs if min(ours, theirs) > 0 else math.nan  # a machine too busy to measure on
        yield Row(f"trial: over Inspect's, {mode}", ratio, "x", Budget("<", 0.6), note)
    note = f"a whole run of one trial; Inspect takes {taken[f'{PEER} 1']:.2f} s"
    yield Row("trial: what a run takes once", taken[f"{GOAT} 1"], "s", note=note)


def goat_run(suite: Path, count: int, parallel: int = 0) -> Done:
    """A whole pytest run over the suite, in which all must pass."""
    at_once = [f"--goat-parallel={parallel}"] if parallel else []
    done = run(pytest_command("-q", "--goat-agent=oracle", *at_once, "tasks.yaml"), suite)
    if not re.search(rf"^{count} passed", done.output, re.MULTILINE):
        sys.exit(f"not {count} passed:\n{done.output[-4000:]}")
    return done


def goat_seconds(suite: Path, count: int, parallel: int = 0) -> float:
    return goat_run(suite, count, parallel).seconds


def isolation_in(done: Done) -> str:
    """The kind of sandbox that a run says it has."""
    found = re.search(r"sandbox=(local/(?:ns|landlock))", done.output)
    if found is None:
        sys.exit(f"no isolated sandbox on this machine:\n{done.output[-4000:]}")
    return found[1]


def inspect_seconds(python: Path, count: int, parallel: int, logs: Path) -> float:
    """Seconds of a whole Inspect run over as many samples, all of which must be right."""
    script = Path(__file__).with_name("inspect_trials.py")
    command = [str(python), str(script), str(count), str(parallel), str(logs), WORK, PROOF]
    return run(command, logs.parent).seconds


def floor_seconds(folder: Path, count: int) -> float:
    """Seconds that the two processes of a trial take when nothing is around them."""
    started = time.perf_counter()
    for _ in range(count):
        for line in (WORK, PROOF):
            subprocess.run(["bash", "-c", line], cwd=folder, check=True)
    return (time.perf_counter() - started) / count

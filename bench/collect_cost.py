"""What collecting 10,000 tasks costs, as a ratio to 10,000 parametrized test functions.

Whole `pytest --collect-only` runs in a fresh process each; the notes say what `read_tasks` alone takes of it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from bench.base import Budget, Options, Row
from bench.processes import pytest_command, run
from bench.timing import interleaved, medians
from pytest_goat.collect import read_tasks

FUNCTIONS = "test functions"
COUNT = 10_000
FILE_EACH = "a YAML file each"

TASK = """\
- id: task-{number}
  prompt: |
    Write file number {number} with a function reverse(s)
    that returns s reversed.
  tags: [python, easy]
  max_turns: 10
  checks:
    - run: python -m pytest -q test_{number}.py
"""
FUNCTION = """\
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_task(number):
    pass
"""


def as_dict(number: int) -> dict[str, object]:
    return {
        "id": f"task-{number}",
        "prompt": f"Write file number {number} with a function reverse(s)\nthat returns s reversed.\n",
        "tags": ["python", "easy"],
        "max_turns": 10,
        "checks": [{"run": f"python -m pytest -q test_{number}.py"}],
    }


def write_functions(folder: Path, count: int) -> None:
    (folder / "test_tasks.py").write_text(FUNCTION.format(count=count))


def write_yaml(folder: Path, count: int) -> None:
    (folder / "tasks.yaml").write_text("".join(TASK.format(number=number) for number in range(count)))


def write_json(folder: Path, count: int) -> None:
    (folder / "tasks.json").write_text(json.dumps([as_dict(number) for number in range(count)], indent=2))


def write_jsonl(folder: Path, count: int) -> None:
    (folder / "tasks.jsonl").write_text("\n".join(json.dumps(as_dict(number)) for number in range(count)))


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"task-{number}.yaml").write_text(TASK.format(number=number))


KINDS: dict[str, Callable[[Path, int], None]] = {
    FUNCTIONS: write_functions,
    "one YAML file": write_yaml,
    "one JSON file": write_json,
    "one JSONL file": write_jsonl,
    FILE_EACH: write_files,
}


def measure(options: Options) -> Iterator[Row]:
    rounds = 3 if options.quick else 5
    with tempfile.TemporaryDirectory() as scratch:
        folders = {kind: Path(scratch, kind.replace(" ", "-")) for kind in KINDS}
        for kind, folder in folders.items():
            folder.mkdir()
            (folder / "goat.yaml").touch()
            KINDS[kind](folder, COUNT)
        runs = {kind: partial(collect, folder, COUNT) for kind, folder in folders.items()}
        taken = medians(interleaved(runs, rounds))
        reading = {kind: median(read(folders[kind]) for _ in range(3)) for kind in KINDS if kind != FUNCTIONS}
    base = taken.pop(FUNCTIONS)
    for kind, seconds in taken.items():
        note = f"{seconds:.2f} s, {FUNCTIONS} {base:.2f} s; read_tasks alone {reading[kind]:.2f} s"
        # The functions stand in one file too: beside them, what 10,000 files cost pytest is not ours.
        budget = Budget("<", 1.5) if kind != FILE_EACH else None
        yield Row(f"collect: {COUNT:,} tasks, {kind}", seconds / base, "x", budget, note)


def collect(folder: Path, count: int) -> float:
    """Seconds of a whole `pytest --collect-only` run, which must find `count` items."""
    done = run(pytest_command("--collect-only", "-qq"), folder)
    found = sum(int(number) for number in re.findall(r": (\d+)$", done.output, re.MULTILINE))
    if found != count:
        sys.exit(f"{folder.name}: {found} of {count} collected\n{done.output[-4000:]}")
    return done.seconds


def read(folder: Path) -> float:
    """Seconds that `read_tasks` takes for all prompt files of a folder."""
    paths = [path for path in folder.iterdir() if path.suffix != ".py" and path.name != "goat.yaml"]
    started = time.perf_counter()
    for path in paths:
        read_tasks(path, None, lambda message, line: None)
    return time.perf_counter() - started

"""What collecting 10,000 tasks costs, as a ratio to 10,000 parametrized test functions (budget: 1.5).

    python bench/collect_cost.py [--tasks N] [--repeat N]

Whole `pytest --collect-only` runs in a fresh process each, the kinds taken in turns, medians; beside them
what `read_tasks` alone takes in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_goat.collect import read_tasks

BUDGET = 1.5
FUNCTIONS = "test functions"

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
    "a YAML file each": write_files,
}


def collect(folder: Path, count: int) -> float:
    """Seconds of a whole `pytest --collect-only` run, which must have found `count` items."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-qq",
        "-p",
        "no:cacheprovider",
        "--rootdir=.",
    ]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GOAT_"))
    }
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    counts = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    found = sum(int(number) for number in counts if number.isdecimal())
    if found != count:
        sys.exit(f"{folder.name}: {found} of {count} collected\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def read(folder: Path) -> float:
    """Seconds that `read_tasks` takes for all prompt files of a folder."""
    paths = [path for path in folder.iterdir() if path.suffix != ".py" and path.name != "goat.yaml"]
    started = time.perf_counter()
    for path in paths:
        read_tasks(path, None, lambda message, line: None)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="What collecting tasks costs, beside test functions.")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = {kind: Path(scratch, kind.replace(" ", "-")) for kind in KINDS}
        for kind, folder in folders.items():
            folder.mkdir()
            (folder / "goat.yaml").touch()
            KINDS[kind](folder, given.tasks)
        runs: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(given.repeat):
            for kind, folder in folders.items():
                runs[kind].append(collect(folder, given.tasks))
        reads = {
            kind: statistics.median(read(folder) for _ in range(given.repeat))
            for kind, folder in folders.items()
        }
    report(given.tasks, runs, reads)


def report(count: int, runs: dict[str, list[float]], reads: dict[str, float]) -> None:
    base = statistics.median(runs[FUNCTIONS])
    print(f"{count:,} tasks as           pytest --collect-only   ratio (budget {BUDGET})   read_tasks alone")
    for kind, seconds in runs.items():
        median = statistics.median(seconds)
        alone = "" if kind == FUNCTIONS else f"{reads[kind]:.2f} s"
        print(f"{kind:<28} {median:>15.2f} s {median / base:>16.2f} {alone:>27}")


if __name__ == "__main__":
    main()

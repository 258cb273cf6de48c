"""What four workers bring for trials that wait, as agents do for their models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.base import Budget, Options, Row
from bench.processes import pytest_command, run
from bench.trial_cost import write_tasks

WORKERS = (1, 4)


def measure(options: Options) -> Iterator[Row]:
    count, wait = 32 if options.quick else 64, 2
    with tempfile.TemporaryDirectory() as scratch:
        suite = write_tasks(Path(scratch, "waiting"), count, f"sleep {wait}; echo done > x")
        one, four = (
            run(pytest_command("-q", "-n", str(workers), "--goat-agent=oracle", "tasks.yaml"), suite).seconds
            for workers in WORKERS
        )
    note = f"{count} trials of {wait} s: {one:.1f} s with one worker, {four:.1f} s with four"
    yield Row("workers: -n 4 over -n 1", one / four, "x", Budget(">", 3.5), note)

"""How long the first trial has to wait: from the start of the process to the `started` of its record.

Of the shipped suites, and of a single task: the first has recordings to look through before any sandbox.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bench.base import ROOT, Budget, Options, Row
from bench.processes import TIMEOUT, environment, pytest_command
from bench.timing import interleaved
from bench.trial_cost import write_tasks

RECORDS = "*/trials/*.json"
POLL = 0.02
"""Seconds between two looks for a record."""


def measure(options: Options) -> Iterator[Row]:
    rounds = 3 if options.quick else 7
    with tempfile.TemporaryDirectory() as scratch:
        suite = write_tasks(Path(scratch, "one"), 1)
        measured = interleaved(
            {
                "pytest benchmarks": lambda: seconds(ROOT, "benchmarks"),
                "one task, no model": lambda: seconds(suite, "tasks.yaml", "--goat-agent=oracle"),
            },
            rounds,
        )
    for kind, waits in measured.items():
        note = f"median of {rounds}, from {min(waits):.2f} to {max(waits):.2f} s"
        yield Row(f"start to first trial: {kind}", statistics.median(waits), "s", Budget("<", 1), note)


def seconds(folder: Path, *arguments: str) -> float:
    """Start a run in `folder`, wait for the first stored result, interrupt it."""
    with tempfile.TemporaryDirectory() as scratch:
        results, said = Path(scratch, "results"), Path(scratch, "output.txt")
        command = pytest_command("-q", f"--goat-results={results}", *arguments)
        with said.open("wb") as output:
            began = time.time()
            process = subprocess.Popen(
                command, cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT
            )
        try:
            while not list(results.glob(RECORDS)):
                if process.poll() is not None or time.time() - began > TIMEOUT:
                    sys.exit(f"{' '.join(command)}: no trial ended\n{said.read_text()[-4000:]}")
                time.sleep(POLL)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        records = [json.loads(path.read_bytes()) for path in results.glob(RECORDS)]
    return min(datetime.fromisoformat(record["started"]).timestamp() for record in records) - began

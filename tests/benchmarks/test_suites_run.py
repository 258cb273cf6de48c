"""The shipped suites prove themselves: what must pass passes, what must fail fails, however they are run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import nested

ROOT = Path(__file__).parents[2]


def verdicts(results: Path, *options: str, where: str = "benchmarks") -> dict[tuple[str, str], str]:
    """Status by task and model, of one pytest run over the suites."""
    quiet = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--goat-results={results}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", where, *quiet, *options],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": nested.OPTIONS},
        capture_output=True,
        text=True,
        check=False,
    )
    trials = [json.loads(path.read_text()) for path in results.glob("*/trials/*.json")]
    assert trials, done.stdout + done.stderr
    return {(trial["task_id"], trial["model"]): trial["status"] for trial in trials}


@pytest.mark.parametrize(
    ("agent", "status", "way"),
    [("oracle", "passed", "-n=2"), ("nop", "failed", "--goat-parallel=1")],
    ids=["oracle under workers", "nop one after the other"],
)
def test_the_agents_that_test_the_tasks(tmp_path: Path, agent: str, status: str, way: str) -> None:
    found = verdicts(tmp_path, "--goat-agent", agent, way)
    assert len(found) >= 24
    assert {key: value for key, value in found.items() if value != status} == {}


def test_the_attempts_have_their_verdicts_side_by_side_and_under_workers(tmp_path: Path) -> None:
    models = ["--goat-model=replay", "--goat-model=replay:replay-wrong"]
    found = verdicts(tmp_path / "side by side", *models, "--goat-parallel=16")
    assert len(found) >= 48
    wanted = {"replay": "passed", "replay:replay-wrong": "failed"}
    assert {key: value for key, value in found.items() if value != wanted[key[1]]} == {}

    suite = "benchmarks/shell-data"
    workers = verdicts(tmp_path / "workers", *models, "-n=2", where=suite)
    assert len(workers) >= 12
    assert workers.items() <= found.items()

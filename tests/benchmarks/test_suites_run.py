"""The shipped suites prove themselves: what must pass passes, what must fail fails, however they are run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def verdicts(results: Path, *options: str, where: str = "benchmarks") -> dict[tuple[str, str], str]:
    """Status by task and model, of one pytest run over the suites."""
    quiet = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--goat-results={results}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", where, *quiet, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    trials = [json.loads(path.read_text()) for path in results.glob("*/trials/*.json")]
    assert trials, done.stdout + done.stderr
    return {(trial["task_id"], trial["model"]): trial["status"] for trial in trials}


@pytest.mark.parametrize(("agent", "status"), [("oracle", "passed"), ("nop", "failed")])
def test_the_agents_that_test_the_tasks(tmp_path: Path, agent: str, status: str) -> None:
    found = verdicts(tmp_path, "--goat-agent", agent)
    assert len(found) >= 24
    assert {key: value for key, value in found.items() if value != status} == {}


def test_the_right_attempts_pass_and_the_wrong_ones_fail_side_by_side(tmp_path: Path) -> None:
    models = ["--goat-model=replay", "--goat-model=replay:replay-wrong"]
    found = verdicts(tmp_path, *models, "--goat-parallel=16")
    assert len(found) >= 48
    wanted = {"replay": "passed", "replay:replay-wrong": "failed"}
    assert {key: value for key, value in found.items() if value != wanted[key[1]]} == {}


def test_one_after_the_other_and_under_workers_the_verdicts_are_the_same(tmp_path: Path) -> None:
    models = ["--goat-model=replay", "--goat-model=replay:replay-wrong"]
    suite = "benchmarks/shell-data"
    serial = verdicts(tmp_path / "serial", *models, "--goat-parallel=1", where=suite)
    assert verdicts(tmp_path / "workers", *models, "-n=4", where=suite) == serial

"""The same tasks come to the same verdicts here and on Modal, and the results are in both places."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.modal_bench import needs_root
from tests.support.modal import ROOT
from tests.support.modal_runs import Project

pytestmark = needs_root

TASKS = ("disk-hogs", "find-setting", "late-fees", "rotate-script", "twin-files")
"""Of all four shipped suites: JSONL, Markdown and YAML, every kind of check, hidden files, workspaces."""
MODELS = ("replay", "replay:replay-wrong")
WAYS = {
    "here": (("--goat-parallel=4",), {"GOAT_BACKEND": "local"}),
    "alone": (("--goat-parallel=4",), {}),
    "workers": (("-n=2",), {}),
}

Verdicts = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture
def benchmarks(project: Project) -> Project:
    shutil.copytree(ROOT / "benchmarks", project.folder / "benchmarks")
    return project


def verdicts(trials: list[dict[str, Any]]) -> Verdicts:
    """What of the trials must not depend on where they ran, by task and model."""
    return {
        (trial["task_id"], trial["model"]): {
            "checks": [(check["name"], check["passed"], check["score"]) for check in trial["checks"]],
            **{name: trial[name] for name in ("status", "cause", "score", "turns", "answer", "changed")},
        }
        for trial in trials
    }


def stored(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in results.glob("*/trials/*.json")]


def outcomes(junit: Path) -> set[tuple[str | None, ...]]:
    """Name and outcome of each test case in a JUnit file."""
    return {
        (case.get("name"), *(child.tag for child in case if child.tag != "properties"))
        for case in ET.parse(junit).iter("testcase")
    }


def test_verdicts_and_results_are_the_same_everywhere(benchmarks: Project) -> None:
    folder, found = benchmarks.folder, {}
    options = [f"--goat-model={model}" for model in MODELS] + ["-k", " or ".join(TASKS)]
    for way, (more, environ) in WAYS.items():
        results = [f"--goat-results={way}", f"--junitxml={way}.xml"]
        done = benchmarks.pytest("benchmarks", *options, *results, *more, **environ)
        assert done.code == 1, done.said
        found[way] = verdicts(stored(folder / way))
    statuses = {key: verdict["status"] for key, verdict in found["here"].items()}
    wanted = dict(zip(MODELS, ("passed", "failed"), strict=True))
    assert statuses == {(task, model): wanted[model] for task in TASKS for model in MODELS}
    assert found["alone"] == found["here"]
    assert found["workers"] == found["here"]
    assert outcomes(folder / "alone.xml") == outcomes(folder / "here.xml")
    assert outcomes(folder / "workers.xml") == outcomes(folder / "here.xml")

    for way in ("alone", "workers"):
        (run,) = (path.parent for path in (folder / way).glob("*/run.json"))
        here = benchmarks.goat("results", run.name, "--full", "--results", way).said
        in_volume = benchmarks.goat("results", run.name, "--full", "--modal").said
        assert here.count("check passed: ") > len(TASKS)
        assert in_volume.replace(
            f"{run.name} in the volume goat-results of the Modal environment goat", "X"
        ) == (here.replace(f"{way}/{run.name}", "X"))

    # The volume is all that is left.
    shutil.rmtree(folder / "workers")
    told = benchmarks.results(run.name)
    assert verdicts(told["trials"]) == found["here"]
    assert run.name in benchmarks.goat("results", COLUMNS="120").said

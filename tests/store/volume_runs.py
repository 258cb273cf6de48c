"""Runs for the tests of the volume, and what is there of them."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from pathlib import Path

import modal

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.report.summary import summarize
from pytest_goat.result import RunRecord, TrialResult
from pytest_goat.store.folder import FolderStore, RunFolder
from pytest_goat.store.upload import Uploader
from tests.support.results import make_result

ENVIRONMENT = "main"
"""One that the server has from the start."""

RUN = "20261124-053614-7f3a"


def begin_run(store: FolderStore, run_id: str = RUN) -> RunFolder:
    return store.open_run(_record(run_id))


def write_trials(folder: RunFolder, count: int) -> list[TrialResult]:
    """So many trials with artifacts, but for the first, which has none."""
    results = [make_result(f"trial-{number}", answer=_anew()) for number in range(count)]
    for result in results:
        artifacts = {"stdout.txt": result.answer.encode(), "changes.diff": b"+" * 100}
        folder.write_trial(result, artifacts if result.trial_id != "trial-0" else None)
    return results


def end_run(folder: RunFolder, results: Sequence[TrialResult]) -> None:
    folder.junit.write_text("<testsuites/>")
    folder.write_summary(summarize(results, run_id=folder.path.name))
    folder.write_record(dataclasses.replace(_record(folder.path.name), finished="2026-11-24T05:37:00+00:00"))


def _record(run_id: str) -> RunRecord:
    return RunRecord(run_id, started="2026-11-24T05:36:14+00:00", models=("replay",), argv=(_anew(),))


def _anew() -> str:
    """What the server has never got: content that it knows takes one call less."""
    return secrets.token_hex(8)


def make_run(store: FolderStore, count: int = 3, run_id: str = RUN) -> RunFolder:
    """A run that has ended."""
    folder = begin_run(store, run_id)
    end_run(folder, write_trials(folder, count))
    return folder


def start_uploader(folder: RunFolder) -> Uploader:
    """One that sends nothing before its end."""
    uploader = Uploader(folder.path, ENVIRONMENT, every=3600)
    uploader.start()
    return uploader


def files_in_volume() -> dict[str, bytes]:
    """Content of every file in the volume, by its path."""
    volume = modal.Volume.from_name(RESULTS_VOLUME, environment_name=ENVIRONMENT)
    names = [entry.path for entry in volume.listdir("/", recursive=True) if entry.type.name == "FILE"]
    return {name: b"".join(volume.read_file(name)) for name in names}


def files_in_folder(root: Path) -> dict[str, bytes]:
    """What should be in the volume of the runs below `root`."""
    found = (path for run in root.iterdir() if run.is_dir() for path in run.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in found if ".upload" not in path.name
    }

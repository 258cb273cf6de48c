"""The results store in a folder.

    <root>/<run_id>/run.json          what the run was
                    trials/<trial_id>.json          one result; when it is there, it is whole
                    trials/<trial_id>/...           its artifacts, written before it
                    summary.json      what came out; missing when the run was killed
                    junit.xml

A JSON file is written beside its place, flushed to the disk, and renamed into place: a reader, also one after
a crash of the machine, finds a whole file or none. Artifacts and the rename itself are left to the system to
flush: they survive the death of every process at once, but a crash of the machine may take the last seconds
of them. Any number of processes may write trials of one run at the same time.
"""

from __future__ import annotations

import difflib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pytest_goat.errors import UserError
from pytest_goat.redact import Redactor
from pytest_goat.result import RunRecord, RunSummary, TrialResult
from pytest_goat.store.encode import json_text

ARTIFACTS = ("trajectory.jsonl", "stdout.txt", "stderr.txt", "changes.diff")
"""The names that a trial's artifacts have."""

RECORD = "run.json"
SUMMARY = "summary.json"
"""The names that a run's own files have."""

TEMPORARY = ".tmp"
"""How the name of a file that is being written ends; it begins with a dot."""

ROOT_FILES = {
    "README.md": (
        "# Results of pytest-goat\n\n"
        "One folder per run; `goat results` shows them. Nothing here is needed by later runs:\n"
        "delete what you no longer want. Do not commit it.\n"
    ),
    ".gitignore": "*\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# See https://bford.info/cachedir/\n",
}

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """All that is stored of a run, but the artifacts."""

    record: RunRecord
    results: tuple[TrialResult, ...]
    summary: RunSummary | None
    """None when the run was killed before its end."""
    unreadable: tuple[str, ...] = ()
    """Files that could not be read, and why: "trials/x.json: not a trial record: ..."."""


class UnknownRun(UserError):
    """A store has no such run; the message lists near ones."""


class RunFolder:
    """The folder of one run, open for writing."""

    def __init__(self, path: Path, redactor: Redactor | None = None) -> None:
        self.path = path
        self._redactor = redactor or Redactor()

    @property
    def junit(self) -> Path:
        """Where the run's own JUnit file goes."""
        return self.path / "junit.xml"

    def trial(self, trial_id: str) -> Path:
        """Where the record of a trial is; its artifacts are in the folder of that name without `.json`."""
        return self.path / "trials" / f"{_file_name(trial_id)}.json"

    def write_trial(self, result: TrialResult, artifacts: Mapping[str, bytes] | None = None) -> Path:
        """Store a result after its artifacts (those with content), secrets taken out; returns its path.

        Raises `OSError` when the disk does not take it.
        """
        path = self.trial(result.trial_id)
        kept = {name: data for name, data in (artifacts or {}).items() if data}
        if kept:
            folder = path.with_suffix("")
            folder.mkdir(exist_ok=True)
            for name, data in kept.items():
                (folder / _file_name(name)).write_bytes(self._redactor.data(data))
        self._write(path, result.to_json())
        return path

    def write_record(self, record: RunRecord) -> None:
        """Store what the run is: again at its end, with `finished`. Raises `OSError`."""
        self._write(self.path / RECORD, record.to_json())

    def write_summary(self, summary: RunSummary) -> None:
        """Store what came out. Raises `OSError`."""
        self._write(self.path / SUMMARY, summary.to_json())

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        text = json_text(value)
        if self._redactor.finds(text):
            text = json_text(self._redactor.value(value))
        write_whole(path, text.encode() + b"\n")


class FolderStore:
    """Runs, each in a folder below `root`, which is made when the first run opens."""

    def __init__(self, root: Path, redactor: Redactor | None = None) -> None:
        self.root = root
        self._redactor = redactor or Redactor()

    def open_run(self, record: RunRecord) -> RunFolder:
        """Make the folder of a new run. Raises `UserError` when it exists or cannot be made."""
        if (self.run(record.run_id).path / RECORD).exists():
            raise UserError(f"run {record.run_id} exists already in {self.root}: choose another id")
        folder = self.prepare(record.run_id)
        try:
            folder.write_record(record)
        except OSError as error:
            raise self._unwritable(error) from None
        return folder

    def prepare(self, run_id: str) -> RunFolder:
        """Make the folder of a run that may be open already. Raises `UserError` when it cannot be made."""
        folder = self.run(run_id)
        try:
            _make_root(self.root)
            (folder.path / "trials").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        return folder

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"results cannot be written to {self.root}: {error.strerror}. Choose another folder."
        )

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run that another process opened."""
        return RunFolder(self.root / _file_name(run_id), self._redactor)

    def runs(self) -> list[str]:
        """Ids of the stored runs, newest first."""
        return sorted((path.parent.name for path in self.root.glob(f"*/{RECORD}")), reverse=True)

    def resolve(self, name: str = "latest") -> str:
        """The id of the run that `name` means: an id, the beginning or end of just one, or `latest`.

        Raises `UserError` that lists near ones.
        """
        return which_run(name, self.runs(), str(self.root))

    def place(self, run_id: str) -> str:
        """Where a run is, for people."""
        return os.path.relpath(self.run(run_id).path)

    def load(self, run_id: str) -> StoredRun:
        """All of a run. A file that cannot be read is reported in the answer, never an error."""
        return self._load(run_id, every_trial=True)

    def glance(self, run_id: str) -> StoredRun:
        """A run for a list of many: as `load`, but where there is a summary, trials are not read."""
        return self._load(run_id, every_trial=False)

    def _load(self, run_id: str, *, every_trial: bool) -> StoredRun:
        path = self.run(run_id).path
        problems: list[str] = []
        record = _read(path, RECORD, RunRecord.from_json, problems) or RunRecord(run_id)
        summary = _read(path, SUMMARY, RunSummary.from_json, problems)
        wanted = every_trial or summary is None
        names = sorted(file.name for file in path.glob("trials/*.json") if file.is_file()) if wanted else ()
        results = [_read(path, f"trials/{name}", TrialResult.from_json, problems) for name in names]
        return StoredRun(record, tuple(r for r in results if r), summary, tuple(problems))


def which_run(name: str, runs: Sequence[str], where: str) -> str:
    """The one of `runs` (newest first) that `name` means; `where` they are is said in errors.

    Raises `UnknownRun`, and `UserError` when it fits several.
    """
    if not runs:
        raise UnknownRun(f"no runs in {where} yet: `pytest benchmarks` makes one")
    if name == "latest":
        return runs[0]
    if name in runs:
        return name
    fitting = [run_id for run_id in runs if name and (run_id.startswith(name) or run_id.endswith(name))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"{name!r} fits {len(fitting)} runs: {', '.join(fitting[:5])}. Give more of the id.")
    near = difflib.get_close_matches(name, runs, n=3) or runs[:3]
    raise UnknownRun(f"no run {name!r} in {where}. Near ones: {', '.join(near)}")


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader finds all of it or, until then, what was there before.

    Not `durable`: a crash of the machine may empty it. Raises `OSError`.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(
    folder: Path, name: str, parse: Callable[[dict[str, Any]], Record], problems: list[str]
) -> Record | None:
    try:
        return parse(json.loads((folder / name).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{name}: {error}")
        return None


def _make_root(root: Path) -> None:
    if root.is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    for name, text in ROOT_FILES.items():
        (root / name).write_text(text)


def _file_name(name: str) -> str:
    """Ids become file names: one that would lead elsewhere is our own mistake, caught here."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be a file name")
    return name

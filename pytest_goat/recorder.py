"""`--goat-record DIR`: what models answer in a run, as recordings that `replay:DIR` serves.

`DIR/<task id>.yaml`, or `DIR/<model>/<task id>.yaml` in a run with several models; what the judge answers
stands likewise in `DIR-judge`. With several epochs a recording has a take for each. A trial is recorded when
it ends, passed or failed; one that ended in an infrastructure error is not, for it says nothing.
Recordings of the same tasks are replaced, others stay.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from pytest_goat.collect.suites import IGNORED_FOLDERS
from pytest_goat.errors import Cause, TaskError, UserError
from pytest_goat.gateway.heard import Heard
from pytest_goat.gateway.recording import EVERY, RecordingFile, Take, read_recording
from pytest_goat.gateway.scrub import Marks, Person, Scrubber
from pytest_goat.gateway.taking import NoTake, make_take, over_budget
from pytest_goat.redact import Redactor
from pytest_goat.report.text import count
from pytest_goat.result import Status, TrialResult
from pytest_goat.settings import MODELLESS, Settings, option_name
from pytest_goat.store.folder import write_whole
from pytest_goat.task import Suite, Trial
from pytest_goat.trial import TrialOutput

_LISTED = 5
_REPLACED = ("model", "judge_model", "record", "api_url", "api_key_env")
"""Options that say where answers come from or go to."""


class Recorder:
    """Writes the recordings of one process. Several may write into the same folder, even into one file."""

    def __init__(self, settings: Settings, run_id: str, redactor: Redactor) -> None:
        self._settings, self._run_id, self._redactor = settings, run_id, redactor
        self._folder = Path.cwd() / (settings.record or "")
        self._person = Person.here()
        self._problems: list[str] = []

    def check(self, trials: Sequence[Trial]) -> None:
        """Find out, before any trial, whether all of `trials` can be recorded. Raises `UserError`."""
        if self._settings.agent in MODELLESS:
            raise UserError(
                f"--goat-record: agent {self._settings.agent} asks no model. Leave one of them out."
            )
        tasks: dict[str, str] = {}
        for trial in trials:
            task, file = trial.task, _file_of(trial)
            if Path(task.id).name != task.id:
                raise UserError(f"--goat-record: {trial.node_id}: its id is no file name. Give it another.")
            if tasks.setdefault(task.id, file) != file:
                raise UserError(
                    f"--goat-record: {tasks[task.id]} and {file} both have a task '{task.id}'.\n"
                    "  Record them one at a time, each in a folder of its own."
                )
            if task.suite is not None:
                self._check_suite(task.suite)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--goat-record: {self._folder}: {error.strerror}. Choose another.") from None

    def _check_suite(self, suite: Suite) -> None:
        own, folder = suite.root / (self._settings.record or ""), self._folder.resolve()
        if own.is_dir() and own.resolve() != folder:
            raise UserError(
                f"--goat-record: {suite.name} has a folder of that name, which replay would look into.\n"
                '  Choose another, or give this one whole, as in --goat-record "$PWD/DIR".'
            )
        if folder.is_relative_to(root := suite.root.resolve()):
            parts = folder.relative_to(root).parts
            if not any(fnmatch(part, pattern) for part in parts for pattern in IGNORED_FOLDERS):
                raise UserError(
                    f"--goat-record: below {suite.name} recordings would be taken for prompt files.\n"
                    "  Choose a folder whose name begins with `replay`, or one outside."
                )

    def keep(self, output: TrialOutput) -> None:
        """Record a trial that has ended. Raises `OSError`."""
        result = output.result
        if result.status is Status.ERROR:
            return
        heard = over_budget(output.heard) if result.cause is Cause.BUDGET else output.heard
        self._write(self._folder, output, heard)
        if output.judged:
            self._write(_judges(self._folder), output, output.judged)

    @property
    def warning(self) -> str:
        """What could not be recorded of trials that could have been; "" when all was."""
        more = len(self._problems) - _LISTED
        listed = [*self._problems[:_LISTED], *([f"... and {more} more"] if more > 0 else [])]
        return "not recorded: " + "; ".join(listed) if listed else ""

    def replays(self, results: Sequence[TrialResult], args: Sequence[str]) -> list[str]:
        """Where the recordings of `results` are, each with the command that replays it.

        `args`: what pytest was given. A line for each model, since the judge of each has a folder of its own.
        """
        lines = []
        for model in self._settings.labels:
            errors = [result.status is Status.ERROR for result in results if result.model == model]
            if all(errors):
                continue
            but = f", but for {count(sum(errors), 'error')}" if any(errors) else ""
            folder = self._of_model(Path(self._settings.record or ""), model)
            judge = self._of_model(_judges(Path(self._settings.record or "")), model)
            chosen = ["--goat-model", f"replay:{folder}"]
            if self._settings.judge_model:
                chosen += ["--goat-judge-model", f"replay:{judge}"]
            command = shlex.join(["pytest", *_without(_REPLACED, args), *chosen])
            lines.append(self._redactor.text(f"recorded{but}: {folder} ({command})"))
        return lines

    def _of_model(self, folder: Path, model: str) -> Path:
        """The part of `folder` for the recordings of `model`."""
        several = len(self._settings.labels) > 1
        return folder / re.sub(r"[^\w.+-]+", "-", model) if several else folder

    def _write(self, folder: Path, output: TrialOutput, heard: Sequence[Heard]) -> None:
        trial = output.trial
        ids = {self._run_id: "run-id", trial.id: "trial-id"}
        try:
            take = make_take(heard, self._redactor, self._person, ids)
        except NoTake as problem:
            self._problems.append(f"{trial.node_id}: {problem}")
            return
        folder = self._of_model(folder, trial.model)
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            self._add(folder / f"{trial.task.id}.yaml", trial, take, output.result.agent)

    def _add(self, path: Path, trial: Trial, take: Take, agent: str) -> None:
        from pytest_goat.gateway.recording_text import to_yaml  # loads YAML

        named = {"task": _file_of(trial), "model": trial.model, "agent": agent}
        scrub = Scrubber(self._redactor, self._person, "", Marks(workdir="", home="~"), {}).text
        recorded = {"run": self._run_id, **{what: scrub(name) for what, name in named.items()}}
        takes = {trial.epoch if self._settings.epochs > 1 else EVERY: take}
        before = _read(path)
        if before is not None and before.recorded.get("run") == self._run_id:
            if before.recorded != recorded:
                self._problems.append(
                    f"{trial.node_id}: {before.recorded['task']} has a task of that id, too"
                )
                return
            takes = {**before.takes, **takes}
        write_whole(path, to_yaml(RecordingFile(takes, recorded)).encode())


def _judges(folder: Path) -> Path:
    """Where what the judge answered stands."""
    return folder.with_name(f"{folder.name}-judge")


def _without(names: Iterable[str], args: Sequence[str]) -> list[str]:
    """`args` without the options `names`, which all take a value."""
    dropped, words, kept = {option_name(name) for name in names}, iter(args), []
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in dropped:
            kept.append(word)
        elif not equals:
            next(words, None)
    return kept


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other recorders out of `folder`, in this process and in others."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> RecordingFile | None:
    """The recording that is there; None where there is none, or what is there is none."""
    try:
        return read_recording(path)
    except TaskError:
        return None


def _file_of(trial: Trial) -> str:
    """The file with its task, relative to pytest's rootdir."""
    return trial.node_id.partition("::")[0]

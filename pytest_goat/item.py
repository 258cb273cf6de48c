"""Prompt files and trials as pytest nodes."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.collect import read_tasks
from pytest_goat.errors import UserError
from pytest_goat.keys import SESSION, SETTINGS, SUITES
from pytest_goat.result import Status, TrialResult
from pytest_goat.task import Task
from pytest_goat.trial import Trial


class GoatWarning(pytest.PytestWarning):
    """A prompt file holds something that is probably a slip."""


class TrialFailed(Exception):
    """The work was wrong, or the agent hit a limit; the text is the report."""


class TrialError(Exception):
    """Infrastructure failed: the trial says nothing about the model; the text is the report."""


class GoatFile(pytest.File):
    """A prompt file."""

    def collect(self) -> Iterator[GoatItem]:
        settings = self.config.stash[SETTINGS]
        try:
            suite = self.config.stash[SUITES].of(self.path)
            tasks = read_tasks(self.path, suite, self._warn)
        except UserError as error:
            raise self.CollectError(str(error)) from None
        models = self.config.stash[SESSION].labels
        for task in tasks:
            for tag in task.tags:
                _know_marker(self.config, tag)
            for model in models:
                for epoch in range(1, settings.epochs + 1):
                    suffix = f"-e{epoch}" if epoch > 1 else ""
                    name = f"{task.id}[{model}{suffix}]"
                    # Given whole: pytest tells the brackets from the name only where it parses the id, and
                    # --lf compares it with one that it parsed.
                    node_id = f"{self.nodeid}::{name}"
                    yield GoatItem.from_parent(
                        self, name=name, nodeid=node_id, task=task, model=model, epoch=epoch
                    )

    def _warn(self, message: str, line: int) -> None:
        warnings.warn_explicit(GoatWarning(message), None, str(self.path), line)


class GoatItem(pytest.Item):
    """One trial."""

    def __init__(self, *, task: Task, model: str, epoch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trial = Trial(trial_id(self.nodeid, task.id), self.nodeid, task, model, epoch)
        self.result: TrialResult | None = None
        for tag in task.tags:
            self.add_marker(tag)

    def runtest(self) -> None:
        goat = self.config.stash[SESSION]
        self.result = result = goat.result_of(self.trial)
        if result.status is Status.SKIPPED:
            pytest.skip(result.message)
        if result.status is not Status.PASSED:
            kind = TrialError if result.status is Status.ERROR else TrialFailed
            raise kind(goat.failure_text(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, TrialFailed | TrialError | UserError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, max(self.trial.task.source.line - 1, 0), self.name


def _know_marker(config: pytest.Config, tag: str) -> None:
    known = config.stash.setdefault(_MARKERS, set())
    if tag not in known:
        known.add(tag)
        config.addinivalue_line("markers", f"{tag}: tag of agent tasks")


_MARKERS = pytest.StashKey[set[str]]()


def trial_id(node_id: str, task_id: str) -> str:
    """A file name, readable and unique: the node id itself may hold what file systems refuse."""
    what = re.sub(r"[^A-Za-z0-9._+-]+", "-", node_id.rpartition("::")[2]).strip("-")
    digest = hashlib.sha256(node_id.encode()).hexdigest()[:8]
    return f"{what[:80] or task_id}-{digest}"

"""Prompt files and trials as pytest nodes. What executes trials is loaded when one runs, not for `--co`."""

from __future__ import annotations

import gc
import hashlib
import re
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_goat.collect import SUFFIXES, read_tasks
from pytest_goat.errors import UserError
from pytest_goat.keys import SESSION, SETTINGS, SUITES
from pytest_goat.task import Task, Trial

if TYPE_CHECKING:
    from pytest_goat.result import TrialResult

MANY = 1000
"""Tasks in one file, from which on their number is felt."""


class GoatWarning(pytest.PytestWarning):
    """A prompt file holds something that is probably a slip."""


class TrialFailed(Exception):
    """The work was wrong, or the agent hit a limit; the text is the report."""


class TrialError(Exception):
    """Infrastructure failed: the trial says nothing about the model; the text is the report."""


def is_trial(node_id: str) -> bool:
    """Whether a node id is that of a trial, not of another test."""
    return Path(node_id.partition("::")[0]).suffix in SUFFIXES


class GoatFile(pytest.File):
    """A prompt file."""

    def collect(self) -> Iterator[GoatItem]:
        settings = self.config.stash[SETTINGS]
        try:
            suite = self.config.stash[SUITES].of(self.path)
            tasks = read_tasks(self.path, suite, self._warn)
        except UserError as error:
            raise self.CollectError(str(error)) from None
        if len(tasks) > MANY:
            # They stay to the end: no later collection of garbage need walk over them again.
            gc.freeze()
        for task in tasks:
            for model in settings.labels:
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
        self._task, self._model, self._epoch = task, model, epoch
        self.result: TrialResult | None = None
        for tag in task.tags:
            self.add_marker(_marker(self.config, tag))

    @cached_property
    def trial(self) -> Trial:
        node_id = self.nodeid
        return Trial(trial_id(node_id, self._task.id), node_id, self._task, self._model, self._epoch)

    def runtest(self) -> None:
        from pytest_goat.result import Status

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
        return self.path, max(self._task.source.line - 1, 0), self.name


_MARKERS = pytest.StashKey[dict[str, pytest.MarkDecorator]]()


def _marker(config: pytest.Config, tag: str) -> pytest.MarkDecorator:
    """The marker of a tag; registered, so that --strict-markers accepts it."""
    known = config.stash.setdefault(_MARKERS, {})
    if tag not in known:
        config.addinivalue_line("markers", f"{tag}: tag of agent tasks")
        known[tag] = getattr(pytest.mark, tag)
    return known[tag]


def trial_id(node_id: str, task_id: str) -> str:
    """A file name, readable and unique: the node id itself may hold what file systems refuse."""
    what = re.sub(r"[^A-Za-z0-9._+-]+", "-", node_id.rpartition("::")[2]).strip("-")
    digest = hashlib.sha256(node_id.encode()).hexdigest()[:8]
    return f"{what[:80] or task_id}-{digest}"

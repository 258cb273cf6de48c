"""Asks before much money is spent (`--goat-confirm-cost`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from pytest_goat.errors import UserError
from pytest_goat.estimate import estimate, most_of, spent
from pytest_goat.gateway.replay import is_replay
from pytest_goat.models import load_models
from pytest_goat.report.text import count
from pytest_goat.settings import Settings
from pytest_goat.store.folder import FolderStore
from pytest_goat.task import Trial

RUNS = 20
"""The latest runs whose costs are looked at."""


def confirm(trials: Sequence[Trial], settings: Settings, store: FolderStore, config: pytest.Config) -> None:
    """Go on only when the run will cost less than `--goat-confirm-cost`, or when somebody says yes.

    Raises `UserError` when nobody does, with the estimate.
    """
    limit = settings.confirm_cost
    if limit is None:
        return
    table = load_models(Path(settings.models) if settings.models else None)

    def most(trial: Trial) -> float | None:
        if is_replay(trial.model):
            return 0.0
        bound = most_of(table.get(trial.model), trial.task) if trial.model in table else None
        told = [value for value in (bound, settings.max_trial_cost) if value is not None]
        return min(told, default=None)

    earlier = (store.load(run_id).results for run_id in islice(store.runs(), RUNS))
    found = estimate(trials, spent(result for results in earlier for result in results), most)
    if found.high <= limit and not found.unknown:
        return
    words = f"{count(len(trials), 'trial')} will cost {found.words()}"
    if not _agreed(f"{words}. Run them? [y/N] ", config):
        raise UserError(f"{words}, which is more than --goat-confirm-cost {limit:g} allows unasked.")


def _agreed(question: str, config: pytest.Config) -> bool:
    """What somebody at the terminal answers; no where nobody is."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if hasattr(config, "workerinput") or capture is None:
        return False
    capture.suspend_global_capture(in_=True)
    try:
        return sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")
    finally:
        capture.resume_global_capture()

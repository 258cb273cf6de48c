"""What becomes of a run's results: record, summary, gates, exit code, terminal, JUnit.

Lives where reports arrive: in the one process, or in the controller under `-n`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_goat.collect.suites import SUITE_FILE, Suites
from pytest_goat.errors import Cause
from pytest_goat.gate import Gate, evaluate, exit_code, ungated
from pytest_goat.item import is_trial, trial_id
from pytest_goat.record import begun, ended
from pytest_goat.recorder import Recorder
from pytest_goat.report.junit import suite_properties, write_junit
from pytest_goat.report.progress import Progress
from pytest_goat.report.summary import summarize
from pytest_goat.report.terminal import summary_lines
from pytest_goat.result import RunRecord, RunSummary, Status, TrialResult
from pytest_goat.settings import Settings
from pytest_goat.store.folder import FolderStore
from pytest_goat.task import GateRule
from pytest_goat.trial import Rig

if TYPE_CHECKING:
    from pytest_goat.store.upload import Uploader

REFUSED = "goat: "
"""How the reason begins for which a worker stopped before its first trial."""


class Reporting:
    """Hears of every result, and says at the end what they come to."""

    def __init__(
        self,
        store: FolderStore,
        run_id: str,
        config: pytest.Config,
        settings: Settings,
        warn: Callable[[], Sequence[str]],
        recorder: Recorder | None,
    ) -> None:
        """`warn` tells, when the run begins, what its summary is to warn of."""
        self._store, self._run_id, self._config, self._settings = store, run_id, config, settings
        self._warn, self._recorder = warn, recorder
        self._clock = time.monotonic()
        self.progress = Progress(0)
        """Of the trials; what Python tests ask for beside them does not count."""
        self._results: list[TrialResult] = []
        self._record: RunRecord | None = None
        self._summary: RunSummary | None = None
        self._uploader: Uploader | None = None
        self._warnings: list[str] = []

    def open(self, rig: Rig | None = None) -> None:
        """Make the run's folder, once. Raises `UserError` where it cannot be written."""
        if self._record is not None:
            return
        self._record = begun(self._run_id, self._settings, self._config.rootpath, rig)
        folder = self._store.open_run(self._record)
        self._warnings += self._warn()
        if rig is not None and rig.backend.name == "modal":
            from pytest_goat.store.upload import Uploader

            self._uploader = Uploader(folder.path, self._settings.modal_env)
            self._uploader.start()

    def add(self, text: str) -> None:
        """Take the result of a trial that has just ended, as JSON text."""
        self.open()
        self._keep(TrialResult.from_json(json.loads(text)))

    def add_crash(self, node_id: str, message: str) -> None:
        """Store an error for the trial whose worker died; nothing but its node id is left of it."""
        self.open()
        file, _, name = node_id.partition("::")
        task_id, _, tried = name.removesuffix("]").partition("[")
        model, _, epoch = tried.rpartition("-e") if self._settings.epochs > 1 else (tried, "", "")
        if not epoch.isdigit():
            model, epoch = tried, "1"
        path = Path(file)
        suite = Suites(self._config.rootpath).of(self._config.rootpath / path)
        result = TrialResult(
            trial_id=trial_id(node_id, task_id),
            node_id=node_id,
            task_id=task_id,
            suite=suite.name if suite else "",
            model=model,
            agent=self._settings.agent,
            epoch=int(epoch),
            status=Status.ERROR,
            cause=Cause.INTERNAL,
            message=message,
            source=str(path),
        )
        self._store.run(self._run_id).write_trial(result)
        self._keep(result)

    def _keep(self, result: TrialResult) -> None:
        self._results.append(result)
        if is_trial(result.node_id):
            self.progress.add(result)
        if self._uploader is not None:
            self._uploader.added()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _refused(self._config):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self._record is None:
            return
        gates = self._gates()
        verdicts = evaluate(self._results, gates)
        duration = time.monotonic() - self._clock
        self._summary = summarize(self._results, run_id=self._run_id, gates=verdicts, duration=duration)
        folder = self._store.run(self._run_id)
        folder.write_summary(self._summary)
        folder.write_record(ended(self._record))
        write_junit(folder.junit, self._results, self._summary)
        self._tell_junit(self._summary)
        if gates and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            ours = sum(result.status in (Status.FAILED, Status.ERROR) for result in self._results)
            session.exitstatus = exit_code(
                verdicts,
                ungated_failures=bool(ungated(self._results, gates)),
                other_failures=session.testsfailed > ours,
            )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Speak last: the gates are what a reader of a CI log looks for."""
        yield
        if self._summary is None or not self._results:
            return
        terminalreporter.section("goat")
        for warning in self._warnings:
            terminalreporter.write_line(warning, yellow=True)
        path = self._store.run(self._run_id).path
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        args = self._config.invocation_params.args
        recorded = self._recorder.replays(self._results, [str(arg) for arg in args]) if self._recorder else ()
        width = shutil.get_terminal_size().columns
        for line in summary_lines(self._summary, results_path=str(shown), recorded=recorded, width=width):
            terminalreporter.write_line(line.text, **({line.style: True} if line.style else {}))

    def upload(self) -> None:
        """Send what the volume does not have yet, when the run's last file is written and nothing runs."""
        if self._uploader is not None:
            self._warnings += filter(None, [self._uploader.finish().warning])
            self._uploader = None

    def _gates(self) -> list[Gate]:
        settings = self._settings
        found = []
        if settings.min_pass_rate is not None:
            rule = GateRule(settings.min_pass_rate, settings.max_errors, settings.gate_confidence)
            found.append(Gate("--goat-min-pass-rate", rule))
        suites = Suites(self._config.rootpath)
        folders = {
            folder
            for name in {result.suite for result in self._results if result.suite}
            for folder in (Path(name), *Path(name).parents)
        }
        for folder in sorted(folders):
            root = self._config.rootpath / folder
            suite = suites.of(root / SUITE_FILE)
            gate = Gate.of_suite(suite) if suite and suite.root == root else None
            if gate is not None:
                found.append(gate)
        return found

    def _tell_junit(self, summary: RunSummary) -> None:
        """Properties of the whole for `--junitxml`, whose plugin has no name to find it by."""
        for plugin in self._config.pluginmanager.get_plugins():
            add = getattr(plugin, "add_global_property", None)
            if add is not None:
                for name, value in suite_properties(summary):
                    add(name, value)


def _refused(config: pytest.Config) -> bool:
    """Whether a worker stopped the run before its first trial: then the reason has been shown."""
    controller: Any = config.pluginmanager.getplugin("dsession")
    return str(getattr(controller, "shouldstop", "")).startswith(REFUSED)

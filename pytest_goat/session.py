"""One run of trials in a pytest process: a plugin that is registered with the first prompt file.

Under `-n` every worker has one that executes trials; the controller's executes none and looks, before the
workers start, whether everything is there. What becomes of the results is `pytest_goat.reporting`.
"""

from __future__ import annotations

import json
import queue
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_goat.board import Board
from pytest_goat.checks import describe_failure
from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.fixture import judged
from pytest_goat.item import GoatItem, GoatWarning, TrialError
from pytest_goat.keys import ASKED, BOARD, GIVEN, HANDED, RESULT_PROPERTY
from pytest_goat.live import INTERVAL, LiveLine
from pytest_goat.recorder import Recorder
from pytest_goat.redact import Redactor
from pytest_goat.report.failure import failure_text
from pytest_goat.report.junit import trial_properties
from pytest_goat.reporting import REFUSED, Reporting
from pytest_goat.result import TrialResult
from pytest_goat.rig import (
    Ground,
    backend_name,
    default_parallel,
    ensure_gateway,
    ensure_models,
    handover,
    make_rig,
    preflight,
    retirements,
    secrets,
)
from pytest_goat.scheduler import Scheduler
from pytest_goat.settings import Settings
from pytest_goat.spending import confirm
from pytest_goat.stopping import exit_on_sigterm
from pytest_goat.store.encode import json_text
from pytest_goat.store.folder import FolderStore, RunFolder
from pytest_goat.task import Trial
from pytest_goat.tracing import Tracing
from pytest_goat.trial import Rig, TrialOutput
from pytest_goat.workers import Workers

T = TypeVar("T")


class _Boundary(pytest.Item):
    """Stands for the next item while nobody knows which trial ends next: session fixtures stay."""

    def runtest(self) -> None:
        raise NotImplementedError


class GoatSession:
    """What a run has, and the hooks that execute its trials."""

    def __init__(self, config: pytest.Config, settings: Settings, run_id: str) -> None:
        self.config, self.settings = config, settings
        self.worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        told = self.worker or {}
        self._worker_id: str = told.get("workerid", "")
        self._board = Board(Path(told[BOARD])) if told.get(BOARD) else None
        self.run_id = run_id
        self.labels = settings.labels
        self.environ = read_environ(config.rootpath)
        self.redactor = Redactor(secrets(settings, self.environ))
        self.store = FolderStore(config.rootpath / settings.results, self.redactor)
        self._tracing = Tracing(self.environ, run_id, self.redactor)
        self._recorder = Recorder(settings, run_id, self.redactor) if settings.record else None
        self.reporting = Reporting(self.store, run_id, config, settings, self._retirements, self._recorder)
        self._rig: Rig | None = None
        self.handed: dict[str, str] = {}
        """What workers are given of what this process has made."""
        self.refused = False
        self._told: list[str] = []
        self._scheduler: Scheduler | None = None
        self._scratch: Path | None = None
        self._futures: dict[str, Future[TrialResult]] = {}
        config.add_cleanup(exit_on_sigterm())

    @property
    def folder(self) -> RunFolder:
        """Where this run's results go."""
        return self.store.run(self.run_id)

    @property
    def parallel(self) -> int:
        """Trials at once in this process."""
        if self.worker is not None:
            return 1
        return self.settings.parallel or default_parallel(backend_name(self.settings, self.environ)[0])

    def start(self, trials: Sequence[Trial] = ()) -> Rig:
        """Start what trials need, once. Raises `UserError` when something is not there."""
        if self._rig is None:
            self.store.prepare(self.run_id)
            if self._recorder is not None:
                self._recorder.check(trials)
            self._scratch = Path(tempfile.mkdtemp(prefix="goat-"))
            rig = make_rig(self._ground(self._scratch))
            self._scheduler = Scheduler(rig, self.parallel, self._keep)
            self._scheduler.start()
            asked = bool(self.worker and self.worker.get(ASKED))
            self._scheduler.call(preflight(rig, self.settings, trials, asked=asked))
            if self.settings.confirm_cost is not None and rig.agent.needs_model:
                confirm(trials, self.settings, self.store, self.config)
            self._rig = rig
            if self.worker is None:
                self.reporting.open(rig)
        return self._rig

    def services(self) -> str:
        """The URL of the gateway on Modal, which answers. Fails the test that wants it when it does not."""
        return self._ensured(ensure_gateway)

    def vllm(self) -> dict[str, str]:
        """Model -> URL, of the models that vLLM serves. Fails the test that wants them when one does not."""
        return self._ensured(ensure_models)

    def _ensured(self, ensure: Callable[[Ground], T]) -> T:
        try:
            self.store.prepare(self.run_id)
            return ensure(self._ground(self.folder.path))
        except UserError as error:
            pytest.fail(str(error), pytrace=False)

    def _ground(self, scratch: Path) -> Ground:
        worker = self.worker or {}
        return Ground(
            self.settings,
            self.run_id,
            self.environ,
            scratch,
            logs=self.folder.path,
            worker=self._worker_id,
            handed=json.loads(worker.get(HANDED, "{}")),
            say=self._say,
        )

    def _retirements(self) -> list[str]:
        return retirements(self._ground(self.folder.path))

    def _say(self, words: str) -> None:
        """Show progress of what takes long before the first trial; a worker has no terminal."""
        reporter: pytest.TerminalReporter | None = self.config.pluginmanager.getplugin("terminalreporter")
        if self.worker is None and reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"goat: {words}")

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` where trials run, and wait for its value."""
        return self._running().call(work)

    def _running(self) -> Scheduler:
        if self._scheduler is None:
            raise UserError("the run is over: a sandbox cannot be used after its test")
        return self._scheduler

    def lead(self) -> None:
        """Look whether everything is there, and make what all workers share; executes nothing itself."""
        try:
            rig = self.start()
        except UserError as error:
            self.close()
            raise pytest.UsageError(str(error)) from None
        self._told = self._header()
        self.handed = handover(rig)
        self.config.pluginmanager.register(Workers(self.config, self.reporting.progress, rig.gateway))
        if not self.handed:
            self.close()

    def sweep(self, worker: str) -> None:
        """End the sandboxes that a worker has left which died."""
        if self._rig is not None:
            self.call(self._rig.backend.sweep(worker))

    def pytest_report_header(self) -> list[str]:
        """The controller says it here: it collects nothing."""
        return self._told

    def close(self) -> None:
        """End trials that still run, their sandboxes, and everything that `start` made."""
        scheduler, self._scheduler = self._scheduler, None
        rig, self._rig = self._rig, None
        if scheduler is not None:
            scheduler.stop()
        if rig is not None and rig.backend.left:
            self._say(rig.backend.left)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def result_of(self, trial: Trial) -> TrialResult:
        """The outcome of `trial`, which is executed now unless it has been already."""
        future = self._futures.pop(trial.id, None)
        if future is None:
            future = self._running().submit(trial)
        if self._board is not None:
            self._tell_what_waits(self._board, future)
        try:
            return future.result()
        except OSError as error:
            raise TrialError(f"the result of {trial.node_id} cannot be written: {error}") from error

    def _tell_what_waits(self, board: Board, future: Future[TrialResult]) -> None:
        """Until a trial has ended, tell the process that leads."""
        gateway = self.start().gateway
        while wait([future], INTERVAL).not_done:
            board.tell(self._worker_id, gateway.waiting())
        board.tell(self._worker_id, ())

    def begin(self, session: pytest.Session, trials: Sequence[Trial]) -> None:
        """Start for the trials that were collected; what is wrong is one message, not one a trial."""
        try:
            self.start(trials)
        except UserError as error:
            if self.worker is None:
                raise pytest.UsageError(str(error)) from None
            session.shouldstop = f"{REFUSED}{error}"
            self.refused = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Nothing runs any more when the summary is printed; the workers have ended before this process."""
        self.close()
        self.reporting.upload()
        recorder = self._recorder.warning if self._recorder is not None else ""
        for warning in filter(None, (self._tracing.close(), recorder)):
            self.config.issue_config_time_warning(GoatWarning(warning), stacklevel=2)

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what the trials run on: nobody should have to guess how isolated they were."""
        return self._header() if self._rig is not None else []

    def _header(self) -> list[str]:
        rig = self._rig
        if rig is None:
            return []
        controls = self.config.pluginmanager.hasplugin("dsession")
        side_by_side = "" if controls else f", {self.parallel} at once"
        gateway = f", gateway {rig.gateway.name}" if rig.agent.needs_model else ""
        return [
            f"goat: run {self.run_id}, agent {rig.agent.name} {rig.agent.version}{gateway}{side_by_side}",
            f"goat: sandbox={rig.backend.description}",
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """A refused worker reports nothing: the reason is the run's, not a test's."""
        return True if self.refused else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run trials side by side and report each when it ends; ordinary tests run in their order."""
        trials = [item for item in session.items if isinstance(item, GoatItem)]
        if self._scheduler is None or self.worker is not None or not trials:
            return None
        boundary = _Boundary.from_parent(session, name="goat-boundary")
        finished: queue.SimpleQueue[GoatItem] = queue.SimpleQueue()
        waiting = iter(trials)
        progress = self.reporting.progress
        progress.total, progress.parallel = len(trials), self.parallel
        live = LiveLine(self.config, progress, self.start().gateway.waiting)

        def start_next() -> None:
            item = next(waiting, None)
            if item is not None:
                future = self._running().submit(item.trial, partial(finished.put, item))
                self._futures[item.trial.id] = future

        # One more waits for each slot, lest a slot wait for reports; but a failure may have to stop the run.
        ahead = 0 if self.config.option.maxfail else self.parallel
        for _ in range(self.parallel + ahead):
            start_next()
        for item in session.items:
            if not isinstance(item, GoatItem):
                _report(session, item, boundary)
        for left in range(len(trials), 0, -1):
            item = live.wait(finished)
            _report(session, item, boundary if left > 1 else None)
            item.result = None  # reported: thousands of answers need not be kept twice
            start_next()
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call":
            if isinstance(item, GoatItem) and item.result is not None:
                # The trial ran beside others, before pytest came to its item.
                report.duration = item.result.phases.total
            for result in self._results_of(item, call):
                result = result.redacted(self.redactor)
                report.user_properties.append((RESULT_PROPERTY, json_text(result.to_json())))
                properties = trial_properties(result, self.folder.trial(result.trial_id))
                item.user_properties.extend(properties)
                report.user_properties.extend(properties)
        if call.excinfo is not None and call.excinfo.errisinstance(TrialError):
            # pytest reports as an error, not as a failure, what went wrong outside the call.
            report.when = "setup"
        return report

    def _results_of(self, item: pytest.Item, call: pytest.CallInfo[None]) -> list[TrialResult]:
        """The results that the test `item` has come to; those of a Python test are stored only now."""
        if isinstance(item, GoatItem):
            return [item.result] if item.result else []
        if GIVEN not in item.stash:
            return []
        outputs = [judged(output, call) for output in item.stash[GIVEN].outputs]
        return [self._keep(output) for output in outputs]

    def failure_text(self, result: TrialResult) -> str:
        """What the report of a trial that did not pass says."""
        folder = self.folder.trial(result.trial_id).with_suffix("")
        return self.redactor.text(
            failure_text(
                result,
                checks=describe_failure(result.checks),
                changes_diff=_read(folder / "changes.diff"),
                stderr_tail=_read(folder / "stderr.txt"),
                record_path=str(self.folder.trial(result.trial_id)),
            )
        )

    def _keep(self, output: TrialOutput) -> TrialResult:
        result = self._tracing.link(output.result)
        self.folder.write_trial(result, output.artifacts)
        if self._recorder is not None:
            self._recorder.keep(output)
        self._tracing.send(result, output.trial)
        return result


def _report(session: pytest.Session, item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run the protocol of one item, and stop as pytest's own loop does."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

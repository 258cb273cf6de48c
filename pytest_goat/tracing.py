"""The traces of a run, where somebody receives them: nothing of OpenTelemetry is loaded for anybody else."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_goat.redact import Redactor
from pytest_goat.result import TrialResult
from pytest_goat.task import Trial
from pytest_goat.traces.receiver import receiver

if TYPE_CHECKING:
    from pytest_goat.traces.sender import TraceSender

DEADLINE = 10.0
"""Seconds that the end of a run waits for what is still to be sent."""
INSTALL = "traces are not sent: pip install 'pytest-goat[langfuse]'"


class Tracing:
    """Sends results as traces to the receiver that `environ` names; without one it does nothing."""

    def __init__(self, environ: Mapping[str, str], run_id: str, redactor: Redactor) -> None:
        self._receiver = receiver(environ)
        self._run_id, self._redactor = run_id, redactor
        self._sender: TraceSender | None = None
        self._problem = ""
        self._lock = threading.Lock()

    def link(self, result: TrialResult) -> TrialResult:
        """The result with the address of its trace."""
        if self._receiver is None:
            return result
        return dataclasses.replace(result, trace=self._receiver.link(self._run_id, result.trial_id))

    def send(self, result: TrialResult, trial: Trial) -> None:
        """Send the trace of a trial in the background, secrets taken out."""
        if self._receiver is None or self._problem:
            return
        try:
            from pytest_goat.traces.sender import TraceSender
            from pytest_goat.traces.spans import Traced
        except ModuleNotFoundError:
            self._problem = INSTALL
            return
        with self._lock:
            self._sender = self._sender or TraceSender(self._receiver)
        metadata = self._redactor.value(dict(trial.task.metadata))
        traced = Traced(self._run_id, self._redactor.text(trial.task.prompt), metadata)
        self._sender.send(result.redacted(self._redactor), traced)

    def close(self) -> str:
        """Send what is left; one warning when something could not be sent, else ""."""
        sender, self._sender = self._sender, None
        return self._problem or (sender.close(DEADLINE) if sender else "")

"""Sends traces and scores from a thread of its own: never slows a trial, never fails one."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from pytest_goat.result import Status, TrialResult
from pytest_goat.traces.ids import trace_id
from pytest_goat.traces.receiver import Receiver
from pytest_goat.traces.spans import Traced, spans_of

QUEUE = 2000
"""Trials that may wait to be sent; one more is dropped, and counted."""
BATCH = 64
"""Trials sent at once."""
TIMEOUT = 10.0
"""Seconds for one request, tries included."""

# The warning at the end says what these would say once for each batch.
logging.getLogger("opentelemetry.exporter.otlp.proto.http").addHandler(logging.NullHandler())


class TraceSender:
    """Sends the traces of one process to `receiver`."""

    def __init__(self, receiver: Receiver, *, timeout: float = TIMEOUT) -> None:
        self._receiver, self._timeout = receiver, timeout
        self._exporter = OTLPSpanExporter(
            endpoint=receiver.endpoint, headers=dict(receiver.headers), timeout=timeout
        )
        self._waiting: queue.Queue[tuple[TrialResult, Traced] | None] = queue.Queue(QUEUE)
        self._problem = ""
        self._given = self._sent = 0
        self._late = False
        self._thread = threading.Thread(target=self._run, name="goat-traces", daemon=True)
        self._thread.start()

    def send(self, result: TrialResult, traced: Traced) -> None:
        """Take a trial's result; returns at once. It must have no secrets in it any more."""
        self._given += 1
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((result, traced))

    def close(self, deadline: float) -> str:
        """Send what waits, for at most `deadline` seconds; one warning when something was lost, else ""."""
        end = time.monotonic() + deadline
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=deadline)
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            self._late = True
            self._problem = self._problem or f"it took longer than {deadline:g} s"
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        lost = self._given - self._sent
        if not self._problem and not lost:
            return ""
        where = self._receiver.host or self._receiver.endpoint
        why = self._problem or "they came faster than it takes them"
        return f"traces of {lost} trials were not sent to {where}: {why}"

    def _run(self) -> None:
        for batch in self._batches():
            spans = [span for result, traced in batch for span in spans_of(result, traced)]
            if not self._late and self._export(spans):
                self._sent += len(batch)
                for result, traced in batch:
                    self._score(result, traced.run_id)

    def _batches(self) -> Iterator[list[tuple[TrialResult, Traced]]]:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    more = self._waiting.get_nowait()
                    if more is None:
                        yield batch
                        return
                    batch.append(more)
            yield batch

    def _export(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            return False
        if not sent:
            self._problem = "it refuses them, or does not answer: see `goat doctor`"
        return sent

    def _score(self, result: TrialResult, run_id: str) -> None:
        """What the checks say, where the receiver has a place for it."""
        if not self._receiver.host:
            return
        trace = trace_id(run_id, result.trial_id)
        for name, value, kind, comment in _scores(result):
            body = {
                "id": f"{trace}-{name}"[:200],
                "traceId": trace,
                "name": name,
                "value": value,
                "dataType": kind,
                "comment": comment,
            }
            try:
                self._post(f"{self._receiver.host}/api/public/scores", body)
            except OSError as error:
                self._problem = f"scores: {error}"
                return

    def _post(self, url: str, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json", **self._receiver.headers}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the user's host
        with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
            answer.read()


def _scores(result: TrialResult) -> Iterator[tuple[str, float, str, str]]:
    """Name, value, kind and comment. An error says nothing about the model, and so has no verdict."""
    if result.status in (Status.PASSED, Status.FAILED):
        yield "passed", float(result.status is Status.PASSED), "BOOLEAN", result.message
    if result.score is not None:
        yield "score", result.score, "NUMERIC", ""
    for check in result.checks:
        if not check.error:
            yield check.name, check.score, "NUMERIC", "" if check.passed else check.seen

"""Looks whether traces arrive: the trace of a made-up trial is sent, and found back where that can be asked.

Langfuse takes traces at once and shows them later. How it is asked:
https://api.reference.langfuse.com (`/api/public/traces/{id}`, `/api/public/v2/observations`).
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pytest_goat.doctor.finding import Answer, Probe, missing, ok, skipped
from pytest_goat.result import Status, TrialResult
from pytest_goat.run_id import new_run_id
from pytest_goat.traces.ids import trace_id
from pytest_goat.traces.receiver import Receiver, receiver
from pytest_goat.tracing import INSTALL

SENT_WITHIN = 12.0
SHOWN_WITHIN = 20.0
"""Seconds."""
_ONE = 5.0
"""Seconds for one question."""
_PAUSE = 1.0
_MOST = 1 << 20
_TRIAL = "doctor"


def trace_probe(environ: Mapping[str, str]) -> Probe:
    """Looks at the receiver that `environ` names."""
    return Probe("trace", lambda: _look(receiver(environ)), SENT_WITHIN + SHOWN_WITHIN + 4 * _ONE)


def _look(to: Receiver | None) -> Answer:
    if to is None:
        return skipped(
            "nothing receives traces, and no run needs them",
            "Set LANGFUSE_HOST, LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, or OTEL_EXPORTER_OTLP_ENDPOINT.",
        )
    run_id = new_run_id()
    try:
        taken = _send(to, run_id)
    except ModuleNotFoundError:
        words, _, mend = INSTALL.partition(": ")
        return missing(words, mend)
    if not taken:
        return missing(f"{to.host or to.endpoint} did not take one", _why_refused(to))
    if not to.host:
        return ok(f"{to.endpoint} took one; only its own pages show whether it is kept")
    return _found_back(to, run_id)


def _send(to: Receiver, run_id: str) -> bool:
    """Whether it was taken."""
    from pytest_goat.traces.sender import TraceSender
    from pytest_goat.traces.spans import Traced

    sender = TraceSender(to)
    # A trial that was skipped gets no scores, which would stand in somebody's charts.
    result = TrialResult(
        trial_id=_TRIAL,
        node_id="goat doctor",
        task_id="goat doctor",
        suite="",
        model="",
        agent="",
        epoch=1,
        status=Status.SKIPPED,
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    sender.send(result, Traced(run_id, "Does this trace arrive?"))
    return not sender.close(SENT_WITHIN)


def _found_back(to: Receiver, run_id: str) -> Answer:
    trace = trace_id(run_id, _TRIAL)
    end = time.monotonic() + SHOWN_WITHIN
    while True:
        if _is_shown(to, trace):
            return ok(f"one arrived at {to.host}: {to.link(run_id, _TRIAL)}")
        if time.monotonic() > end:
            break
        time.sleep(_PAUSE)
    return missing(
        f"{to.host} took one, and does not show it after {SHOWN_WITHIN:g} s",
        f"Look at {to.link(run_id, _TRIAL)}; Langfuse's worker and its queue may be down.",
    )


def _is_shown(to: Receiver, trace: str) -> bool:
    """Whether one of the two ways to read knows the trace: Langfuse's version decides which one it has."""
    status, _ = _get(to, f"/api/public/traces/{trace}")
    if status == 200:
        return True
    status, body = _get(to, f"/api/public/v2/observations?traceId={trace}&limit=1")
    return status == 200 and bool(body.get("data"))


def _why_refused(to: Receiver) -> str:
    if not to.host:
        return "Does it answer, take OTLP over HTTP, and want OTEL_EXPORTER_OTLP_HEADERS?"
    status, _ = _get(to, "/api/public/projects")
    if status in (401, 403):
        return "It refuses LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY: take those of a project there."
    if not status:
        return (
            f"{to.host} does not answer: is LANGFUSE_HOST right? "
            "One on Modal that sleeps takes some minutes to wake up: try again."
        )
    return "It takes the keys, but not the trace: it must be Langfuse 3.63 or newer."


def _get(to: Receiver, path: str) -> tuple[int, dict[str, Any]]:
    """The status, 0 without an answer, and the JSON object that came, {} for anything else."""
    request = urllib.request.Request(f"{to.host}{path}", headers=dict(to.headers))  # noqa: S310 - the user's host
    try:
        with urllib.request.urlopen(request, timeout=_ONE) as answer:  # noqa: S310
            value = json.loads(answer.read(_MOST))
            return answer.status, value if isinstance(value, dict) else {}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
    except (OSError, ValueError):
        return 0, {}

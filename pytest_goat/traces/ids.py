"""The names of traces, known without asking anybody."""

from __future__ import annotations

import hashlib


def trace_id(run_id: str, trial_id: str) -> str:
    """The trace of a trial: 32 hex digits."""
    return hashlib.sha256(f"{run_id}/{trial_id}".encode()).hexdigest()[:32]


def span_id(trace: str, number: int) -> str:
    """A span of a trace: 16 hex digits. 0 is the trial itself, n its n-th model call."""
    return hashlib.sha256(f"{trace}/{number}".encode()).hexdigest()[:16]

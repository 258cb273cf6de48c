"""Faults that a test asks for: which RPC, what happens instead of its answer, when and how often."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

STATUSES = {
    "unavailable": Status.UNAVAILABLE,
    "internal": Status.INTERNAL,
    "resource_exhausted": Status.RESOURCE_EXHAUSTED,
    "unauthenticated": Status.UNAUTHENTICATED,
    "permission_denied": Status.PERMISSION_DENIED,
    "failed_precondition": Status.FAILED_PRECONDITION,
    "not_found": Status.NOT_FOUND,
}
BREAKS = ("reset", "abort", "hang", "lost_reply")
"""Stream reset, connection aborted, never an answer; done, but stream reset in place of the reply."""

ALWAYS = -1
"""As `times`: until the faults are cleared."""


@dataclass
class Fault:
    """`kind` happens to `times` calls of `rpc` (ALWAYS: to all) after the first `after` were let through.

    `seconds`: for how long from the first one on, whatever `times` says (0: no bound). `retry_after`: seconds
    that a RESOURCE_EXHAUSTED tells the SDK to wait before it retries; 0 tells it nothing, and it gives up.
    Raises `ValueError` for a kind that is none.
    """

    rpc: str
    kind: str
    times: int = 1
    after: int = 0
    seconds: float = 0.0
    retry_after: float = 0.0
    message: str = ""
    _ends: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in STATUSES and self.kind not in BREAKS:
            raise ValueError(f"no fault {self.kind!r}: one of {', '.join((*STATUSES, *BREAKS))}")
        if self.seconds:
            self.times = ALWAYS

    def hit(self) -> bool:
        """Count one call of the RPC; whether the fault happens to it."""
        if self.after:
            self.after -= 1
            return False
        if self.seconds:
            self._ends = self._ends or time.monotonic() + self.seconds
            return time.monotonic() < self._ends
        if self.times == 0:
            return False
        if self.times != ALWAYS:
            self.times -= 1
        return True

    def error(self) -> GRPCError:
        """What the client gets, for a kind that is a status."""
        details: list[Any] = []
        if self.retry_after:
            details.append(api_pb2.RPCRetryPolicy(retry_after_secs=self.retry_after))
        return GRPCError(STATUSES[self.kind], self.message or f"injected: {self.kind}", details or None)


class Faults:
    """The faults that are set; the first one set that hits is the one that happens."""

    def __init__(self) -> None:
        self._set: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._set.append(fault)

    def clear(self) -> None:
        self._set.clear()

    def next(self, rpc: str) -> Fault | None:
        """What happens to this call of `rpc`."""
        return next((fault for fault in self._set if fault.rpc == rpc and fault.hit()), None)

"""How many sandboxes may be made, and how fast."""

from __future__ import annotations

import time

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_server.state import Limits


class Limiter:
    """Lets sandboxes through as `limits` say at the time: `burst` at once, then `create_rate` a second."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tokens = float("inf")
        self._last = 0.0

    def admit(self, alive: int) -> None:
        """Let one more be made beside those `alive`. Raises RESOURCE_EXHAUSTED."""
        limits = self._limits
        if limits.max_sandboxes and alive >= limits.max_sandboxes:
            raise self._refusal(f"Sandbox limit reached: {limits.max_sandboxes:g} are alive")
        if not limits.create_rate:
            self._tokens = float("inf")
            return
        now = time.monotonic()
        self._tokens = min(max(limits.burst, 1), self._tokens + (now - self._last) * limits.create_rate)
        self._last = now
        if self._tokens < 1:
            raise self._refusal(f"Sandbox creation rate limit ({limits.create_rate:g}/s) exceeded")
        self._tokens -= 1

    def _refusal(self, message: str) -> GRPCError:
        details: list[Message] = []
        if self._limits.retry_after:
            details.append(api_pb2.RPCRetryPolicy(retry_after_secs=self._limits.retry_after))
        return GRPCError(Status.RESOURCE_EXHAUSTED, message, details or None)

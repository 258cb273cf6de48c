"""Ports of tests that run side by side, for servers that are told theirs by number."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, COUNT = 10_000, 10_000
"""Below those that Linux gives to connections and to servers that take any: one might come in between."""

_taken: list[socket.socket] = []


def free_port() -> int:
    """A port on the loopback where nobody listens, and that nobody else is given until this process ends."""
    while True:
        port = FIRST + secrets.randbelow(COUNT)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0goat-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _taken.append(claim)
        return port


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on the loopback that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]

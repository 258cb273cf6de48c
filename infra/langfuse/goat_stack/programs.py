"""Langfuse's own two programs. They keep nothing: what they write is in the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from goat_stack.host import Child, Host
from goat_stack.stores.base import answers

GRACE = 6.0
"""Seconds that a program has to end. Langfuse's web server would take more than a minute to drain; but a
container that is being stopped gets no new requests, and what was answered is in the stores."""


@dataclass
class Program:
    """`before`: commands that must succeed, in order, before it starts (migrations). `health`: a URL that is
    answered when it works.
    """

    host: Host
    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    health: str
    before: Sequence[Sequence[str]] = ()
    _child: Child | None = None

    def start(self) -> None:
        for argv in self.before:
            self.host.run(argv, env=self.env, cwd=self.cwd)
        self._child = self.host.child(self.name, self.argv, self.env, self.cwd)

    def running(self) -> bool:
        return self._child is not None and self._child.running()

    def healthy(self) -> bool:
        return answers(self.health)

    def stop(self) -> None:
        if self._child:
            self._child.stop(grace=GRACE)

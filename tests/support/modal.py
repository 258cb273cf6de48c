"""The Modal server of the tests as a process of its own, for one `with` block."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[2]
END_TIMEOUT = 20.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers. `env` goes into the environment of whatever is to talk to it."""

    url: str
    admin: str
    env: dict[str, str]
    """MODAL_SERVER_URL, MODAL_TOKEN_ID, MODAL_TOKEN_SECRET, MODAL_CONFIG_PATH (a missing file)."""

    def ask(self, name: str, **details: Any) -> Any:
        """Call the server's `admin_NAME`. Raises `ValueError` with what is wrong with name or details."""
        request = urllib.request.Request(f"{self.admin}/{name}", json.dumps(details).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(error.read().decode()) from None

    def live(self) -> list[dict[str, Any]]:
        """The sandboxes that are alive: id, app, tags, ..."""
        return cast(list[dict[str, Any]], self.ask("live"))

    def calls(self) -> dict[str, int]:
        """How often each RPC was called since the start or the last `reset_calls`."""
        return cast(dict[str, int], self.ask("calls"))

    def reset_calls(self) -> None:
        self.ask("reset_calls")

    def fault(self, rpc: str, kind: str, *, times: int = 1, after: int = 0, **details: Any) -> None:
        """Let `kind` happen to `times` calls of `rpc` after the first `after`; see `faults.Fault`."""
        self.ask("fault", rpc=rpc, kind=kind, times=times, after=after, **details)

    def clear_faults(self) -> None:
        self.ask("clear_faults")

    def set(self, **limits: float | bool) -> None:
        """Set limits by their names in `state.Limits`: `create_rate`, `max_sandboxes`, `idempotency`, ..."""
        self.ask("set", **limits)


@contextmanager
def modal_server(*, simulate: str = "", arguments: Sequence[str] = ()) -> Iterator[RunningServer]:
    """Start a server, and end it with everything that it started when the block ends.

    `simulate`: how commands of sandboxes are simulated; "" runs them as processes.
    """
    command = [sys.executable, "-m", "tests.modal_server", "--json", "--until-eof", *arguments]
    if simulate:
        command += ["--simulate", simulate]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the Modal server did not start; what it said stands above")
            yield RunningServer(**json.loads(line))
        finally:
            process.stdin.close()
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()

"""The Modal server of the tests as a process of its own, for one `with` block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
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

    def ask(self, name: str, /, **details: Any) -> Any:
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
        """Let `kind` happen to `times` calls of `rpc`, -1: to all, after the first `after`.

        `details`: `seconds`, `retry_after`, `message`; what all mean, and the kinds, `faults.Fault` says.
        """
        self.ask("fault", rpc=rpc, kind=kind, times=times, after=after, **details)

    def clear_faults(self) -> None:
        self.ask("clear_faults")

    def set(self, **limits: float | bool) -> None:
        """Set limits by their names in `state.Limits`: `create_rate`, `max_sandboxes`, `idempotency`, ..."""
        self.ask("set", **limits)


def run_sdk(server: RunningServer, code: str, **environment: str) -> Any:
    """Run `code` with the real SDK in a process of its own; returns what it assigns to `answer`, by JSON.

    `modal` is imported for it. Raises `AssertionError` with its stderr when it fails.
    """
    program = f"import json, modal\nanswer = None\n{textwrap.dedent(code)}\nprint(json.dumps(answer))"
    done = _run([sys.executable, "-c", program], server, environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_cli(server: RunningServer, *arguments: str) -> str:
    """Run the real `modal` command; returns its stdout. Raises `AssertionError` when it fails."""
    done = _run([sys.executable, "-m", "modal", *arguments], server, {})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _run(
    command: list[str], server: RunningServer, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **server.env, **environment, "PYTHONWARNINGS": "default"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


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

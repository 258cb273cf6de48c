"""One walk through all that pytest-goat does on Modal, by the commands that the README names.

It makes its own Modal environment, or uses it again; the services that it deploys are stopped at its end,
secrets and volume stay. The whole costs a few cents: the gateway's container for some minutes, three
sandboxes for less than one, and, the first time, the building of two images.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.modal import ROOT
from tests.support.suites import HELLO_CHECKS, WRITE_HELLO, Turns, write_suite

SOON = 90.0
DEPLOY = 15 * 60.0
RUN = 10 * 60.0
"""Seconds for a command: a first deploy and a first run build images."""
LIFETIME = 120
"""Seconds for the agent of the run that is killed, and so a bound on what it costs if nothing ends it."""

ELSEWHERE = {"LANGFUSE_HOST": "https://langfuse.example"}
"""So that no Langfuse is deployed, which takes long and costs more."""

WAY_OUT = """
import sys, urllib.request
for url in ("https://example.com", "http://example.com", "https://1.1.1.1"):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            sys.exit(f"{url} can be reached: HTTP {answer.status}")
    except OSError as error:
        print(url, "is out of reach:", error)
"""

ASLEEP: Turns = [{"tools": [{"Bash": {"command": "sleep 100"}}]}, {"text": "Awake."}]

LIVE = """
import asyncio, sys
from pytest_goat.sandbox.modal.ledger import leftovers
print(*(left.run for left in asyncio.run(leftovers(sys.argv[1]))))
"""


@dataclass(frozen=True)
class Walk:
    """`environ`: of every command, with what leads to Modal. `folder` is empty at first."""

    environment: str
    folder: Path
    environ: Mapping[str, str]

    def all_of_it(self) -> None:
        try:
            self.set_up()
            self.deploy()
            self.run_two_tasks()
            self.read_results()
            self.ask_the_doctor()
            self.kill_a_run()
        finally:
            self.tear_down()

    def set_up(self) -> None:
        # In a folder of its own: what it generates goes into `.env`, and there are keys of a Langfuse in it.
        (account := self.folder / "account").mkdir()
        (account / ".git").mkdir()
        said = self._python(f"{ROOT}/infra/setup.py", "--yes", "--env", self.environment, at=account)
        for name in ("goat-llm-providers", "goat-litellm", "goat-langfuse", "goat-postgres"):
            assert f"secret {name}: " in said

    def deploy(self) -> None:
        file = f"{ROOT}/infra/services.py"
        self._python("-m", "modal", "deploy", file, "--env", self.environment, within=DEPLOY, more=ELSEWHERE)

    def run_two_tasks(self) -> None:
        """The agent reaches the gateway, and nothing else is reached."""
        tasks = [
            {"id": "hello", "prompt": "Write hello.txt with the word hello.", "checks": HELLO_CHECKS},
            {
                "id": "no-way-out",
                "prompt": "Do nothing.",
                "checks": [{"run": "python3 way_out.py", "files": {"way_out.py": WAY_OUT}}],
            },
        ]
        write_suite(self.folder / "suite", tasks, {"hello": WRITE_HELLO, "no-way-out": [{"text": "Done."}]})
        said = self._python("-m", "pytest", "suite", "-n", "2", *self._on_modal, within=RUN)
        assert "2 passed" in said

    def read_results(self) -> None:
        """From the volume alone."""
        (stored,) = self._results()
        (there,) = [
            run for run in self._results("--modal") if run["run"]["run_id"] == stored["run"]["run_id"]
        ]
        assert there["summary"] == stored["summary"]
        assert "Done: hello.txt says hello." in self._goat(
            "results", stored["run"]["run_id"], "--modal", "--full", *self._env
        )

    def ask_the_doctor(self) -> None:
        said = self._goat("doctor", "--backend", "modal", "--model", "replay", *self._env)
        found = [line.split()[:2] for line in said.splitlines() if not line.startswith(" ")]
        parts = ("token", "environment", "secrets", "services", "gateway", "model", "volume", "leftovers")
        assert [part for part in parts if ["ok", part] not in found] == []

    def kill_a_run(self) -> None:
        """What a run that was killed has left is found and ended by `goat cleanup`."""
        task = {"id": "asleep", "prompt": "Sleep.", "limits": {"timeout": LIFETIME}}
        write_suite(self.folder / "asleep", [task], {"asleep": ASLEEP})
        with self._started("-m", "pytest", "asleep", *self._on_modal, "--goat-results", "killed") as process:
            run = self._until("a sandbox lives", lambda: bool(self._live()) and self._run_of("killed"))
            os.killpg(process.pid, signal.SIGKILL)
        assert self._live() == [run]
        assert "1 sandboxes ended" in self._goat("cleanup", "--run", run, *self._env)
        self._until("it is gone", lambda: not self._live())
        assert "no sandbox is left" in self._goat("cleanup", *self._env)

    def tear_down(self) -> None:
        assert "goat-services" in self._goat("teardown", *self._env)
        assert "nothing of pytest-goat runs" in self._goat("teardown", *self._env)

    @property
    def _env(self) -> tuple[str, ...]:
        return ("--modal-env", self.environment)

    @property
    def _on_modal(self) -> tuple[str, ...]:
        where = ("--goat-backend", "modal", "--goat-modal-env", self.environment)
        return (*where, "--goat-model", "replay", "--goat-deploy", "never")

    def _goat(self, *words: str) -> str:
        return self._python("-m", "pytest_goat.cli", *words)

    def _results(self, *more: str) -> list[dict[str, Any]]:
        where = more or ("--results", ".goat/results")
        found: list[dict[str, Any]] = json.loads(self._goat("results", "--json", *where, *self._env))
        return found

    def _live(self) -> list[str]:
        """The run of each sandbox that lives."""
        return self._python("-c", LIVE, self.environment).split()

    def _run_of(self, results: str) -> str:
        return next((path.name for path in (self.folder / results).glob("*-*-*")), "")

    def _until(self, what: str, found: Callable[[], str | bool]) -> str:
        end = time.monotonic() + SOON
        while not (value := found()):
            assert time.monotonic() < end, f"not within {SOON:g} s: {what}"
            time.sleep(0.5)
        return str(value)

    def _python(
        self,
        *words: str,
        within: float = SOON,
        at: Path | None = None,
        more: Mapping[str, str] | None = None,
    ) -> str:
        """What a command says that is to succeed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=at or self.folder,
            env={**self.environ, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def _started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command in a process group of its own, which does not outlive the block."""
        with (self.folder / "killed.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

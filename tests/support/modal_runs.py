"""Whole pytest runs on Modal, as users type them, against the Modal server of the tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import nested
from tests.support.modal import ROOT, RunningServer, modal_server
from tests.support.runs import stored_trials, the_run

ENVIRONMENT = "goat"
TIMEOUT = 60.0
SOON = 20.0
"""Seconds within which everything has to be gone after an end before its time."""

_FOREIGN = ("GOAT_", "LANGFUSE_", "LITELLM_", "MODAL_", "OPENAI_", "PYTEST_")
"""How variables begin that the developer of these tests may have set for other purposes."""


@dataclass(frozen=True)
class Done:
    """How a program ended, and all that it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Cloud:
    """A Modal server with an environment as `infra/setup.py` leaves it, and the gateway deployed there."""

    server: RunningServer
    folder: Path
    """Where it was set up; `.env` with what was generated is there."""
    environ: Mapping[str, str]
    """Of everything that is run on it: sandboxes are made on Modal, and nothing is deployed."""

    def live_runs(self) -> set[str]:
        """The runs that have a sandbox."""
        return {sandbox["tags"]["goat-run"] for sandbox in self.server.live()}


@contextmanager
def set_up_cloud(folder: Path) -> Iterator[Cloud]:
    """A server of its own, set up and deployed to by the commands that the README names."""
    scratch = folder / "tmp"
    scratch.mkdir()
    with modal_server() as server:
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        environ = own | server.env | {
            "GOAT_BACKEND": "modal",
            "GOAT_CREATE_RATE": "1000",
            "GOAT_DEPLOY": "never",
            "NO_COLOR": "1",
            "PYTEST_ADDOPTS": nested.OPTIONS,
            # Rate and locks are shared by all processes of a machine, and this is another Modal account.
            "TMPDIR": str(scratch),
        }  # fmt: skip
        cloud = Cloud(server, folder, environ)
        here = Project(folder, cloud)
        for words in (
            (f"{ROOT}/infra/setup.py", "--yes", "--env", ENVIRONMENT),
            ("-m", "modal", "deploy", f"{ROOT}/infra/services.py", "--env", ENVIRONMENT),
        ):
            # With another Langfuse, none is deployed.
            done = here.python(*words, LANGFUSE_HOST="https://langfuse.example")
            assert done.code == 0, done.said
        yield cloud


class Project:
    """A user's folder, and what is typed in it."""

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        self.folder, self.cloud = folder, cloud

    def python(self, *words: str, **environ: str) -> Done:
        """`python ...`, to its end."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**self.cloud.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        return Done(done.returncode, done.stdout)

    def pytest(self, *options: str, **environ: str) -> Done:
        return self.python("-m", "pytest", "-p", "no:cacheprovider", *options, **environ)

    def goat(self, *words: str, **environ: str) -> Done:
        return self.python("-m", "pytest_goat.cli", *words, **environ)

    def results(self, *words: str) -> Any:
        """What `goat results ... --json` tells."""
        done = self.goat("results", *words, "--json")
        assert done.code == 0, done.said
        return json.loads(done.said)

    @property
    def run_id(self) -> str:
        """Of the one run that was made here."""
        return the_run(self.folder).name

    def trials(self) -> dict[str, dict[str, Any]]:
        """The stored trials of that run, by task id."""
        return stored_trials(self.folder)


class Started:
    """A pytest process in a process group of its own, as a terminal makes it."""

    def __init__(self, project: Project, *options: str) -> None:
        self._path = project.folder / "log.txt"
        self._log = self._path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *options],
            cwd=project.folder,
            env={**project.cloud.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            # Where the tests themselves run in the background, Ctrl-C is ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    @property
    def log(self) -> str:
        return self._path.read_text()

    def signal_group(self, number: signal.Signals) -> None:
        """What a terminal does for Ctrl-C; nothing when all have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def close(self) -> None:
        self.signal_group(signal.SIGKILL)
        self.process.wait()
        self._log.close()

"""Whole processes, timed from outside, and environments for what the project itself never installs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.base import ROOT

TIMEOUT = 900.0
"""Seconds after which a process hangs."""
CHANGING = ("GOAT_", "PYTEST_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""How the names of variables begin that would change a run: without bytecode, all is compiled anew."""


@dataclass(frozen=True, slots=True)
class Done:
    """A process that has ended as it should."""

    seconds: float
    cpu: float
    """Seconds of the process and of those that it waited for: other work on the machine weighs less on it."""
    output: str


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run `command`; what it says is the end of the bench unless it exits with 0."""
    before = _children_cpu()
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return Done(seconds, _children_cpu() - before, done.stdout)


def pytest_command(*arguments: str) -> list[str]:
    """A pytest that knows nothing of the folders above the one it is started in."""
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", *arguments]


def environment() -> dict[str, str]:
    """The environment without what would change a measured run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(CHANGING)}


def venv_with(requirement: str) -> Path:
    """The folder of programs of a virtual environment that has `requirement`; made once, kept in `build/`."""
    folder = ROOT / "build" / f"bench-{requirement.partition('=')[0].partition('[')[0]}"
    complete = folder / requirement.replace("/", "-")
    if not complete.exists():
        print(f"installing {requirement} into {folder} ...", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", requirement], ROOT)
        complete.touch()
    return folder / "bin"


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

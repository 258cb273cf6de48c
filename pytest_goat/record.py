"""What a run was, for its record: settings, versions, commit, agent, backend."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pytest_goat import __version__
from pytest_goat.result import AgentInfo, Git, RunRecord
from pytest_goat.settings import Settings
from pytest_goat.trial import Rig


def begun(run_id: str, settings: Settings, folder: Path, rig: Rig | None) -> RunRecord:
    """The record of a run that begins now in `folder`; `rig` is None where other processes have it."""
    return RunRecord(
        run_id=run_id,
        started=_now(),
        argv=tuple(sys.argv),
        settings=dataclasses.asdict(settings),
        versions={
            "pytest-goat": __version__,
            "pytest": version("pytest"),
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        git=_git(folder),
        models=settings.labels,
        agent=AgentInfo(rig.agent.name, rig.agent.version) if rig else AgentInfo(settings.agent),
        backend=rig.backend.description if rig else "",
        gateway=rig.gateway.name if rig else "",
    )


def ended(record: RunRecord) -> RunRecord:
    """The record of a run that ends now."""
    return dataclasses.replace(record, finished=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(folder: Path) -> Git:
    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],  # noqa: S607 - the git of the PATH is meant
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = ask("rev-parse", "HEAD")
        return Git(commit, bool(commit and ask("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.TimeoutExpired):
        return Git()

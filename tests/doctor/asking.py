"""Asks `goat doctor`, as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.modal import ROOT

NOBODY = {"MODAL_CONFIG_PATH": "/no/such/modal.toml"}
"""The environment of somebody without an account."""

PROGRAM = "import sys\n{before}\nfrom pytest_goat.cli import main\nsys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Report:
    """What it said."""

    code: int
    findings: Mapping[str, tuple[str, str, str]]
    """Part -> state, words, mend; in the order of the looks."""
    output: str
    errors: str

    @property
    def states(self) -> dict[str, str]:
        return {part: state for part, (state, _, _) in self.findings.items()}

    def skipped_for(self, reason: str) -> set[str]:
        """The parts that were not looked at because of `reason`."""
        return {part for part, (_, words, _) in self.findings.items() if words == f"not looked at: {reason}"}


def doctor(
    folder: Path, *options: str, environ: Mapping[str, str] = NOBODY, before: str = "", text: bool = False
) -> Report:
    """Ask in `folder`. `before`: Python that runs first; `text`: what people read, so without `findings`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [sys.executable, "-c", PROGRAM.format(before=before), "doctor", *options]
    done = subprocess.run(
        command if text else [*command, "--json"],
        cwd=folder,
        env={**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found = [] if text else json.loads(done.stdout)
    findings = {row["part"]: (row["state"], row["words"], row["mend"]) for row in found}
    return Report(done.returncode, findings, done.stdout, done.stderr)

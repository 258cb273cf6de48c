"""Root runs the sandbox tests once more as a user without any privilege: what most people are."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

_USER = 12345
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_FILES = ("test_local_conformance.py", "test_local_attacks.py")


def python_for_everybody() -> str:
    """A Python of this version that the user may run with our packages: what is below /root may be closed."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        try:
            if as_user([path, "-c", "import pytest, tests.sandbox"], tempfile.gettempdir()).returncode == 0:
                return path
        except OSError:
            continue
    pytest.skip(
        f"another user than root has no Python {version} to run, or may not read {_ROOT} and its packages"
    )


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; the other tests have run as one"
)
def test_the_sandbox_holds_for_a_user_without_privileges() -> None:
    python = python_for_everybody()
    # Not pytest's own folder: that is closed to everybody but the user who runs this.
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, _USER, _USER)
        done = run_as_user(python, folder)
    assert done.returncode == 0, done.stdout + done.stderr


def run_as_user(python: str, folder: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder}/pytest", "-rs"]
    return as_user([python, "-m", "pytest", *options, *(str(_HERE / name) for name in _FILES)], folder)


def as_user(argv: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(_ROOT), sysconfig.get_path("purelib")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TMPDIR": folder,
    }
    return subprocess.run(
        argv,
        cwd="/",
        env=environment,
        user=_USER,
        group=_USER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )

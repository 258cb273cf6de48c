"""The stack's volume through the real Modal SDK."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.modal import ROOT, modal_server
from tests.support.stack import PACKAGES

SCRIPT = """
import sys
from pathlib import Path
from goat_stack.errors import StackError
from goat_stack.volume import ModalVolume
try:
    getattr(ModalVolume(Path("/vol"), "goat-pgdata"), sys.argv[1])()
except StackError as error:
    print(error)
"""


def test_what_the_sdk_raises_is_an_error_of_the_stack(tmp_path: Path) -> None:
    with modal_server() as server:
        for method in ("commit", "reload"):
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, method],
                cwd=ROOT,
                env={"PYTHONPATH": str(PACKAGES), "PATH": "", "HOME": str(tmp_path)} | server.env,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            assert done.stdout.startswith(f"{method} of the Modal volume goat-pgdata failed: ")
            assert "goat-pgdata" in done.stdout.partition("failed: ")[2]

"""The files of `infra/` as they travel in the wheel: inside the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_goat.deploy.configuration import services_hash
from tests.support.deploys import Place, modal_cli
from tests.support.modal import ROOT

SKIPPED = shutil.ignore_patterns("__pycache__", ".mypy_cache")
HASH = "from pytest_goat.deploy.configuration import services_hash; print(services_hash(None))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, laid out as the wheel does."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "pytest_goat", folder / "pytest_goat", ignore=SKIPPED)
    shutil.copytree(ROOT / "infra", folder / "pytest_goat" / "infra", ignore=SKIPPED)
    return folder


def test_an_installation_has_the_hash_of_its_checkout(installed: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    told = subprocess.check_output([sys.executable, "-P", "-c", HASH], env=environ, text=True, timeout=60)
    assert told.strip() == services_hash(None)


@pytest.mark.parametrize("file", ["services.py", "vllm.py"])
def test_an_installation_deploys(installed: Path, place: Place, file: str) -> None:
    path = installed / "pytest_goat" / "infra" / file
    command = ("deploy", str(path), "--env", place.environment)
    code, said = modal_cli(
        place, *command, PYTHONPATH=str(installed), LANGFUSE_HOST="https://langfuse.example"
    )
    assert code == 0, said
    assert f"Uploaded {path}" in said
    assert place.deploys() == 1

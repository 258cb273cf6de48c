"""What the tests of the Langfuse stack share."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.stack import ELSEWHERE, PACKAGES, Stack, killed_at_the_end, new_stack

sys.path.append(str(PACKAGES))

MakeStack = Callable[..., Stack]


@pytest.fixture
def place() -> Iterator[Path]:
    """A new folder that Postgres's user can enter, which pytest's own folders are not, with a short path: a
    unix socket's may have 107 characters.
    """
    folder = Path(tempfile.mkdtemp(prefix="goat-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_stack(place: Path) -> Iterator[MakeStack]:
    """Makes containers, on one volume unless it is named; `given` is added to their environment, which has
    the other stores than Postgres elsewhere when it is not given.
    """
    stacks: list[Stack] = []

    def make(given: dict[str, str] | None = None, volume: str = "volume", cloud: str = "") -> Stack:
        shared = place / cloud if cloud else None
        if shared:
            shared.mkdir(exist_ok=True)
        env = ELSEWHERE if given is None else given
        stacks.append(new_stack(place / f"c{len(stacks)}", place / volume, env, shared))
        return stacks[-1]

    with killed_at_the_end(stacks):
        yield make


@pytest.fixture
def small_volume(place: Path) -> Iterator[Path]:
    """A volume of 32 MiB, which only root can mount."""
    folder = place / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a tmpfs: run as root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)

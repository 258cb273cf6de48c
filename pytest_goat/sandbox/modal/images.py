"""Images: ours with what tasks need, or the one that a task names; the agent's program is the last layer."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_goat.cloud.client import within
from pytest_goat.cloud.errors import Verdict, user_error, verdict
from pytest_goat.errors import UserError
from pytest_goat.sandbox.base import Mount
from pytest_goat.task import Machine

if TYPE_CHECKING:
    from modal import App, Image

PYTHON = "3.12"
PACKAGES = ("curl", "git", "procps", "ripgrep")
PIP = ("pytest==9.2.0",)

_INSIDE = Path(__file__).with_name("inside")
PLACE = "/opt/goat/inside"
"""Where `inside` is, inside."""
START = "import sys; sys.path.insert(0, '/opt/goat'); from inside.main import main; main()"
RUN = ("/bin/sh", "-c", 'exec python3 -I -S -X utf8 -c "$0"', START)
"""What serves a request. A shell says by exit code 127 that there is no python3."""

_BUILD_WITHIN = 1800.0
"""Seconds."""

Key = tuple[str | Path, str, tuple[Mount, ...]]


class Images:
    """The images of one app, each built once, when it is wanted first."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._building: dict[Key, asyncio.Task[Image]] = {}

    def adopt(self, machine: Machine, mounts: Sequence[Mount], image_id: str) -> None:
        """Take the image that another process has built."""
        from modal import Image

        self._building[_key(machine, mounts)] = asyncio.ensure_future(_given(Image.from_id(image_id)))

    async def get(self, machine: Machine, mounts: Sequence[Mount]) -> Image:
        """The image for `machine` with `mounts` in it.

        Raises `UserError` when it cannot be built, with what the build said.
        """
        key = _key(machine, mounts)
        if key not in self._building:
            self._building[key] = asyncio.ensure_future(self._build(machine, mounts))
        return await asyncio.shield(self._building[key])

    async def _build(self, machine: Machine, mounts: Sequence[Mount]) -> Image:
        named = str(machine.image) or "ours"
        try:
            image = recipe(machine, mounts)
            return await within(image.build.aio(self._app), _BUILD_WITHIN, f"building the image ({named})")
        except Exception as error:
            if verdict(error) is not Verdict.NEVER:
                del self._building[_key(machine, mounts)]  # the next one may have better luck
            raise user_error(error, f"the image ({named}) cannot be built") from error


async def _given(image: Image) -> Image:
    return image


def _key(machine: Machine, mounts: Sequence[Mount]) -> Key:
    return machine.image, machine.setup, tuple(mounts)


def recipe(machine: Machine, mounts: Sequence[Mount]) -> Image:
    """How the image is made; nothing is built yet. Raises `UserError` for a file that is not there."""
    image = _base(machine.image)
    if machine.setup:
        image = image.run_commands(_bash(machine.setup))
    image = image.add_local_dir(_INSIDE, PLACE, copy=True, ignore=["**/__pycache__"])
    for mount in mounts:
        source = Path(mount.source)
        if not source.exists():
            raise UserError(f"modal: {source} is to be in the image, and is not there")
        add = image.add_local_dir if source.is_dir() else image.add_local_file
        image = add(source, mount.target, copy=True)
    return image


def _base(image: str | Path) -> Image:
    from modal import Image

    if not image:
        return Image.debian_slim(PYTHON).apt_install(*PACKAGES).pip_install(*PIP)
    if isinstance(image, Path):
        made = Image.from_dockerfile(image, context_dir=image.parent)
    else:
        made = Image.from_registry(image)
    return made.entrypoint([])  # ours is the only program that starts by itself


def _bash(script: str) -> str:
    """A command of one line, as an instruction of a Dockerfile has to be."""
    if "\n" not in script.strip():
        return shlex.join(["bash", "-c", script.strip()])
    escaped = script.replace("\\", "\\\\").replace("\n", "\\n")
    return f'bash -c "$(printf %b {shlex.quote(escaped)})"'

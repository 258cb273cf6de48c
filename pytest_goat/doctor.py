"""What is there and what is missing, part by part: `goat doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.rig import Ground, make_rig, preflight
from pytest_goat.settings import Settings
from pytest_goat.trial import Rig


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of what a run needs."""

    part: str
    ok: bool
    words: str
    """What it is, or what is wrong with it and what mends it."""


def examine(settings: Settings, scratch: Path) -> Iterator[Finding]:
    """Look at agent, sandbox and models as a run with `settings` would.

    Without `--model`, no model is asked: only whether there is a key is told. `scratch` is a folder of this
    process's own.
    """
    environ = read_environ(Path.cwd())
    try:
        rig = make_rig(Ground(settings, "doctor", environ, scratch, scratch))
    except UserError as error:
        yield Finding("settings", False, str(error))
        return
    yield Finding("agent", True, f"{rig.agent.name} {rig.agent.version}")
    yield asyncio.run(_backend(rig))
    if settings.model:
        yield asyncio.run(_models(rig, settings))
    else:
        yield _key(settings, environ)


async def _backend(rig: Rig) -> Finding:
    async def start() -> str:
        await rig.backend.start()
        return rig.backend.description

    return await _try("sandbox", start, rig.backend.stop)


async def _models(rig: Rig, settings: Settings) -> Finding:
    async def ask() -> str:
        await rig.gateway.start()
        await preflight(rig, settings, [], asked=False)
        return f"{', '.join(settings.model)}: answers, and takes tools"

    return await _try("model", ask, rig.gateway.stop)


async def _try(part: str, work: Callable[[], Awaitable[str]], end: Callable[[], Awaitable[None]]) -> Finding:
    try:
        return Finding(part, True, await work())
    except UserError as error:
        return Finding(part, False, str(error))
    finally:
        await end()


def _key(settings: Settings, environ: Mapping[str, str]) -> Finding:
    name = settings.api_key_env
    if environ.get(name):
        return Finding("key", True, f"{name} is set; ask a model with: goat doctor --model NAME")
    return Finding("key", True, f"{name} is not set: `replay` needs none; a real model: export {name}=...")

"""All looks, in the order in which the parts stand on each other."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_goat.doctor.cloud import Cloud
from pytest_goat.doctor.finding import Answer, Finding, Probe, look_at, ok, skipped
from pytest_goat.doctor.local import Local
from pytest_goat.doctor.trace import trace_probe
from pytest_goat.environ import read_environ
from pytest_goat.gateway.replay import is_replay
from pytest_goat.rig import Ground, backend_name, make_rig, preflight
from pytest_goat.run_id import new_run_id
from pytest_goat.settings import Settings
from pytest_goat.trial import Rig

_MODEL = 180.0
"""Seconds for the call to a model: the time of a cold start is in it."""


def examine(settings: Settings, scratch: Path, say: Callable[[str], object]) -> Iterator[Finding]:
    """Look at everything that a run with `settings` would need, and never deploy any of it.

    Modal is needed where such a run would be on Modal; a part of it that is set up and does not work is
    missing anyway. Without `--model` no model is asked. `scratch` is a folder of this process's own; `say`
    shows progress of what takes long. Raises `UserError` when `.env` cannot be read.
    """
    settings = dataclasses.replace(settings, deploy="never")
    ground = Ground(settings, new_run_id(), read_environ(Path.cwd()), scratch, scratch, say=say)
    on_modal = backend_name(settings, ground.environ)[0] == "modal"
    cloud, local = Cloud(ground, needed=on_modal), Local(ground, needed=not on_modal)
    return look_at(
        [
            *cloud.way(),
            Probe("model", lambda: _model(ground), _MODEL, "gateway" if on_modal and settings.model else ""),
            trace_probe(ground.environ),
            *cloud.keeping(),
            *local.probes(),
        ]
    )


def _model(ground: Ground) -> Answer:
    """One small call, through the gateway that a run would use."""
    chosen = ground.settings.model
    if not chosen:
        return skipped("none was asked: `replay` needs no look", "goat doctor --model NAME")
    asyncio.run(_ask(make_rig(ground), ground.settings))
    real = ", ".join(model for model in chosen if not is_replay(model))
    return ok(f"{real}: answers, and takes tools" if real else f"{', '.join(chosen)}: needs no call")


async def _ask(rig: Rig, settings: Settings) -> None:
    try:
        await rig.gateway.start()
        await preflight(rig, settings, [], asked=False)
    finally:
        await rig.gateway.stop()

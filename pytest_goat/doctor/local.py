"""Looks at what is on this machine: the agent, the isolation of sandboxes, LiteLLM, keys of models."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Iterable, Sequence
from datetime import date

from pytest_goat.agent.factory import make_agent
from pytest_goat.doctor.finding import Answer, Probe, ok, skipped
from pytest_goat.errors import UserError
from pytest_goat.models import Model, load_models
from pytest_goat.rig import Ground
from pytest_goat.sandbox.local.backend import LocalBackend

_SECONDS = 30.0


class Local:
    """`needed`: whether sandboxes would be made here."""

    def __init__(self, ground: Ground, *, needed: bool) -> None:
        self._ground, self._needed = ground, needed

    def probes(self) -> Sequence[Probe]:
        return (
            Probe("agent", self._agent, _SECONDS),
            Probe("sandbox", self._sandbox, _SECONDS),
            Probe("litellm", self._litellm, _SECONDS),
            Probe("models", self._models, _SECONDS),
        )

    def _agent(self) -> Answer:
        agent = make_agent(self._ground.settings.agent, self._ground.scratch)
        agent.check()
        return ok(f"{agent.name} {agent.version}")

    def _sandbox(self) -> Answer:
        settings = self._ground.settings
        backend = LocalBackend(engine=settings.sandbox, unsafe=settings.unsafe_local)
        try:
            return ok(asyncio.run(_try(backend)))
        except UserError as error:
            if self._needed:
                raise
            return skipped("none on this machine, and none is needed with Modal", str(error))

    def _litellm(self) -> Answer:
        try:
            version = importlib.metadata.version("litellm")
        except importlib.metadata.PackageNotFoundError:
            return skipped(
                "not installed: local runs need it for models of the table",
                "pip install 'pytest-goat[gateway]'",
            )
        return ok(f"litellm {version}, for models of the table in local runs")

    def _models(self) -> Answer:
        environ, today = self._ground.environ, date.today()
        table = load_models(self._ground.own_models)
        usable = [model for model in table if model.usable(environ, today)]
        other, rows = self._ground.settings.api_key_env, len(table.rows)
        words = (
            f"`replay` needs no key; {len(usable)} of the table's {rows} (goat models) can be called "
            f"from here{_with_keys(usable, environ)}; {other} is {'set' if environ.get(other) else 'not set'}"
        )
        return ok(words, "\n".join(table.notices((model.name for model in usable), today)))


async def _try(backend: LocalBackend) -> str:
    try:
        await backend.start()
        return backend.description
    finally:
        await backend.stop()


def _with_keys(usable: Iterable[Model], environ: Iterable[str]) -> str:
    """The variables that make models usable."""
    given = set(environ)
    names = dict.fromkeys(name for model in usable for name in model.env.values() if name in given)
    return f" (by {', '.join(names)})" if names else ""

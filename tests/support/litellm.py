"""The real LiteLLM in front of providers that are played, and an agent that calls a model through both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pytest_goat.gateway.litellm import LiteLLMUpstream, Running
from pytest_goat.gateway.litellm_process import LiteLLMProcess
from pytest_goat.gateway.proxy import ProxyGateway
from pytest_goat.models import Model, Models, load_models
from tests.gateway.calls import Agent, agent_on, running, trial_key
from tests.support.providers import Providers

BEFORE_ANY_RETIREMENT = date(2026, 8, 1)


@dataclass(frozen=True)
class Stack:
    """LiteLLM, as one process serves it to a whole session of tests, and the providers behind it."""

    process: LiteLLMProcess
    providers: Providers
    models: Models

    def upstream(self, *names: str) -> LiteLLMUpstream:
        """LiteLLM as a worker has it, which started none."""
        at = Running(self.process.url, self.process.key)
        return LiteLLMUpstream(self.models, names, at, self.providers.environ, BEFORE_ANY_RETIREMENT)

    def model(self, name: str) -> Model:
        return self.models.get(name)

    @asynccontextmanager
    async def agent(self, name: str) -> AsyncIterator[Agent]:
        """An agent whose trial has the model `name`, through our proxy."""
        gateway = ProxyGateway({name: self.upstream(name)}, 30.0)
        async with running(gateway), agent_on(gateway, trial_key(name)) as agent:
            yield agent


@contextmanager
def litellm_stack(folder: Path) -> Iterator[Stack]:
    """Start it with every model of the table; `folder` gets its log."""
    models = load_models()
    with Providers() as providers:
        process = LiteLLMProcess(models, providers.environ, folder)
        asyncio.run(process.start())
        try:
            yield Stack(process, providers, models)
        finally:
            asyncio.run(process.stop())

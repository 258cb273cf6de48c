"""LiteLLM as the upstream of the models in the table, a process of our own or one that already runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway import preflight
from pytest_goat.gateway.base import ModelCall, TrialKey, Usage
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.litellm_errors import cut_error, cut_events
from pytest_goat.gateway.litellm_process import LiteLLMProcess
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.upstream import Answer
from pytest_goat.models import Model, Models

_RETRY_AFTER = ("retry-after", "retry-after-ms")


@dataclass(frozen=True, slots=True)
class Running:
    """A LiteLLM that runs: what a process hands to its workers, so that they need none of their own."""

    url: str
    """Up to and with `/v1`."""
    key: str = field(repr=False)
    """Its master key."""


class LiteLLMUpstream:
    """LiteLLM in front of the providers."""

    def __init__(
        self,
        models: Models,
        names: Iterable[str],
        at: Path | Running,
        environ: Mapping[str, str] = os.environ,
        today: date | None = None,
    ) -> None:
        """Serve the models `names` of the table.

        `at`: the folder for the configuration and the log of a process of its own, or a LiteLLM that runs.
        Raises `UserError` for a name that is not in the table, a model that has retired, or a missing key.
        """
        self._rows = {row.name: row for row in chosen(models, names, environ, today or date.today())}
        self._environ = environ
        self._process = LiteLLMProcess(self._rows.values(), environ, at) if isinstance(at, Path) else None
        self._running = at if isinstance(at, Running) else None
        self._server: DirectUpstream | None = None

    @property
    def name(self) -> str:
        return "litellm"

    @property
    def secrets(self) -> Sequence[str]:
        """The providers' keys, and LiteLLM's."""
        keys = [key for row in self._rows.values() for key in row.secrets(self._environ)]
        own = self._process.key if self._process else self.running.key
        return tuple(dict.fromkeys([own, *keys]))

    @property
    def running(self) -> Running:
        """For workers; there once it is started."""
        assert self._running is not None, "start() comes first"  # noqa: S101
        return self._running

    def quota(self, model: str) -> str:
        """That of the provider's account, whichever LiteLLM asks."""
        row = self._rows[model]
        return "\n".join([row.route, *sorted(row.values(self._environ).values())])

    def handover(self) -> dict[str, str]:
        return {"litellm_url": self.running.url, "litellm_key": self.running.key}

    async def start(self) -> None:
        """Raises `UserError` when LiteLLM does not start."""
        if self._process is not None:
            await self._process.start()
            self._running = Running(self._process.url, self._process.key)
        self._server = DirectUpstream(self.running.url, self.running.key)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        if self._process is not None:
            await self._process.stop()

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        """One cheap call as an agent would make it. Raises `UserError` with what is wrong and the mend."""
        row = self._rows[model]
        problem = f"no answer within {preflight.DEADLINE:g} s. {self._where(row)}"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(preflight.DEADLINE):
                problem = self._problem(row, await preflight.first_call(self, model))
        if problem:
            raise UserError(f"Model '{model}' of {row.provider}: {problem}")

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answer]:
        assert self._server is not None, "start() comes first"  # noqa: S101
        price = partial(_priced, self._rows[request.key.model])
        async with self._server.answer(request) as answer:
            clean = cut_error if answer.status >= 300 else cut_events
            headers = _headers(answer.headers)
            yield dataclasses.replace(answer, headers=headers, body=clean(answer.body), price=price)

    def _problem(self, row: Model, call: ModelCall) -> str:
        if preflight.is_served(call):
            return ""
        said = call.message.rstrip(".")
        if call.cause is Cause.AUTH:
            return f"{said}. It refuses the key: set {row.env['api_key']} to one that is good there."
        if preflight.is_about_tools(said, row.name):
            return f"{said}. {preflight.TOOLS_MEND}"
        if call.cause is Cause.MODEL_NOT_FOUND:
            return (
                f"{said}. Is {row.route.partition('/')[2]} its name there? "
                f"Another one goes into a file of your own: --goat-models FILE."
            )
        if call.cause in (Cause.UNREACHABLE, Cause.PROVIDER_ERROR):
            return f"{said}. {self._where(row)}"
        return f"{said}. {preflight.OTHER_MEND}"

    def _where(self, row: Model) -> str:
        base = row.env.get("api_base", "")
        address = row.values(self._environ).get(base, "")
        return (
            f"Is the address right, {base}={address}, and does it answer?" if address else "Try again later."
        )


def chosen(
    models: Models, names: Iterable[str], environ: Mapping[str, str], today: date
) -> tuple[Model, ...]:
    """The rows of `names`. Raises `UserError` with all reasons why they cannot be called."""
    rows = tuple(models.get(name) for name in dict.fromkeys(names))
    problems = [problem for row in rows if (problem := _unusable(row, environ, today))]
    if problems:
        raise UserError("\n".join(problems))
    return rows


def _unusable(row: Model, environ: Mapping[str, str], today: date) -> str:
    if row.retired(today):
        return (
            f"Model '{row.name}' {row.notice(today)}. If yours still answers, give the row another `retires` "
            "in a file of your own: --goat-models FILE."
        )
    if missing := row.missing(environ):
        return f"Model '{row.name}' needs {' and '.join(missing)}: export {missing[0]}=..."
    return ""


def _priced(row: Model, usage: Usage) -> Usage:
    """LiteLLM's figure, else the table's. It says 0, too, where it knows no price or got no answer."""
    if usage.cost:
        return usage
    used = usage.prompt_tokens + usage.completion_tokens
    cost = row.cost(usage) if used else None
    return dataclasses.replace(usage, cost=cost, cost_source="" if cost is None else "table")


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """With the provider's word on when to try again, which LiteLLM passes on under another name."""
    said = {name: headers.get(f"llm_provider-{name}", "") for name in _RETRY_AFTER}
    return {**{name: value for name, value in said.items() if value}, **headers}

"""Apps on Modal: whether one is there with this machine's configuration; deployed when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pytest_goat.cloud.client import connect, within
from pytest_goat.cloud.errors import user_error
from pytest_goat.deploy.configuration import TAG
from pytest_goat.deploy.lock import locked
from pytest_goat.deploy.program import DEADLINE, deploy_command, run_deploy
from pytest_goat.errors import UserError

T = TypeVar("T")

CALL = 20.0
"""Seconds for one question to Modal."""

Mode = Literal["auto", "never", "always"]
"""When an app is deployed: when it is missing or of another configuration; never; always."""

Say = Callable[[str], object]
"""Shows one line of progress."""


@dataclass(frozen=True, slots=True)
class App:
    """An app as a file of `infra/` makes it."""

    name: str
    function: str
    """The web function that tells whether the app is healthy."""
    file: Path
    hash: str
    """Of the configuration of this machine."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the file reads from the environment beside."""

    def command(self, environment: str) -> str:
        """What a person types to deploy it."""
        return deploy_command(self.file, environment, self.variables)


@dataclass(frozen=True, slots=True)
class Deployed:
    """An app that is there."""

    url: str
    """Of its web function."""
    hash: str
    """Of its configuration; "" when it was deployed by other means."""


def look_up(app: App, environment: str) -> Deployed | None:
    """What is deployed under the app's name; None without. Raises `UserError` when Modal cannot be asked."""
    return asyncio.run(_look_up(app, environment))


async def _look_up(app: App, environment: str) -> Deployed | None:
    await connect(environment)
    import modal

    async def ask() -> Deployed | None:
        try:
            found = await modal.App.lookup.aio(app.name, environment_name=environment)
            function = modal.Function.from_name(app.name, app.function, environment_name=environment)
            url = await function.get_web_url.aio()
        except modal.exception.NotFoundError:
            return None
        return Deployed(url, (await found.get_tags.aio()).get(TAG, "")) if url else None

    return await asked(ask(), f"looking for the app {app.name}")


async def asked(call: Awaitable[T], doing: str) -> T:
    """What Modal answers. Raises `UserError` when it does not, in time, or says no."""
    import modal

    try:
        return await within(call, CALL, doing)
    except (modal.Error, OSError) as error:
        raise user_error(error, doing) from error


def ensure_app(app: App, environment: str, mode: Mode, say: Say, log: Path) -> tuple[Deployed, bool]:
    """See to it that `app` is deployed. Returns it, and whether it was deployed just now.

    Processes of this machine do so one after the other, and those that waited find it done. What
    `modal deploy` says is added to the file `log`. Raises `UserError` when it is missing and must not be
    deployed, and when deploying fails.
    """

    def waits() -> None:
        say(f"Another process looks after {app.name}: waiting for it.")

    with locked(f"deploy-{environment}-{app.name}", DEADLINE + 60, waits):
        there = look_up(app, environment)
        reason = _reason(app, there, mode)
        if mode == "never":
            return _as_it_is(app, there, environment, reason, say), False
        if there is not None and not reason:
            return there, False
        say(f"{reason}: deploying it with `{app.command(environment)}`, output in {log}")
        run_deploy(app.file, environment, app.variables, log)
        new = look_up(app, environment)
        if new is None:
            raise UserError(f"{app.name} was deployed, but Modal does not know its URL. Its output: {log}")
        return new, True


def _reason(app: App, there: Deployed | None, mode: Mode) -> str:
    """Why it should be deployed; "" when it need not be."""
    if there is None:
        return f"{app.name} is not deployed"
    if there.hash != app.hash:
        return f"{app.name} is deployed with another configuration"
    return f"{app.name} is deployed anew, as asked" if mode == "always" else ""


def _as_it_is(app: App, there: Deployed | None, environment: str, reason: str, say: Say) -> Deployed:
    if there is None:
        raise UserError(
            f"{reason} in the Modal environment {environment}. Deploy it: {app.command(environment)}\n"
            "  or let the plugin do so: --goat-deploy auto"
        )
    if reason:
        say(f"{reason} and used as it is. To deploy that of this machine: {app.command(environment)}")
    return there

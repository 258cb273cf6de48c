"""Sees to it that the app `goat-services` is deployed and its gateway answers."""

from __future__ import annotations

from pathlib import Path

from pytest_goat.cloud import names
from pytest_goat.deploy.apps import App, Mode, Say, ensure_app
from pytest_goat.deploy.configuration import MODELS_VARIABLE, services_hash
from pytest_goat.deploy.health import Answer, wait_until_ready
from pytest_goat.errors import UserError

STARTUP = 240.0
"""Seconds for a cold start of the gateway, its container included."""


def services_app(own_models: Path | None) -> App:
    """The app as this machine would deploy it; `own_models` is the file of the user's rows."""
    from pytest_goat.models import infra_folder

    return App(
        names.SERVICES_APP,
        names.GATEWAY_FUNCTION,
        infra_folder() / "services.py",
        services_hash(own_models),
        {MODELS_VARIABLE: str(own_models.resolve())} if own_models is not None else {},
    )


def ensure_services(
    environment: str,
    mode: Mode,
    say: Say,
    log: Path,
    own_models: Path | None = None,
    startup: float = STARTUP,
) -> str:
    """The URL of the deployed gateway, which answers `GET /health` when this returns.

    `mode` says when it is deployed: `auto` when it is missing or of another configuration, `never`,
    `always`. `say` shows progress, line by line; what `modal deploy` says is added to the file `log`.
    `startup`: seconds to wait for the gateway.

    Raises `UserError` with the command that mends it.
    """
    app = services_app(own_models)
    deployed, _ = ensure_app(app, environment, mode, say, log)
    wanted = "" if mode == "never" else app.hash

    def ready(answer: Answer) -> bool:
        # Right after a deploy, a container of the one before may still answer.
        return answer.status == 200 and wanted in ("", answer.body.get("config"))

    def progress(seconds: float) -> None:
        say(f"The gateway is starting: {seconds:.0f} s so far, about 20 s is normal.")

    last = wait_until_ready(deployed.url, ready, startup, progress)
    if not ready(last):
        raise UserError(
            f"The gateway {deployed.url} is not healthy after {startup:g} s: {last}.\n"
            f"  Its log: modal app logs {app.name} --env {environment}\n"
            f"  To deploy it anew: --goat-deploy always, or {app.command(environment)}"
        )
    return deployed.url

"""Sees to it that a model's app is deployed and vLLM has loaded it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_goat.cloud import names
from pytest_goat.deploy.apps import App, Mode, Say, ensure_app, look_up
from pytest_goat.deploy.configuration import MODELS_VARIABLE
from pytest_goat.deploy.health import Answer, wait_until_ready
from pytest_goat.deploy.program import run_modal
from pytest_goat.deploy.services import services_app
from pytest_goat.deploy.vllm_plan import FAST_BOOT_VARIABLE, MODEL_VARIABLE, plan
from pytest_goat.errors import UserError

STARTUP = 15 * 60.0
"""Seconds for a cold start. The first one downloads the weights."""


def vllm_app(model: str, own_models: Path | None, environ: Mapping[str, str] = os.environ) -> App:
    """The app that serves `model`, as this machine would deploy it. Raises `UserError` as `plan`."""
    from pytest_goat.models import infra_folder

    file = infra_folder() / "vllm.py"
    wanted = plan(model, own_models, environ)
    variables = {MODEL_VARIABLE: model}
    if environ.get(FAST_BOOT_VARIABLE):
        variables[FAST_BOOT_VARIABLE] = environ[FAST_BOOT_VARIABLE]
    if own_models is not None:
        variables[MODELS_VARIABLE] = str(own_models.resolve())
    return App(wanted.app, names.VLLM_FUNCTION, file, wanted.hash(file), variables)


def ensure_vllm(
    model: str,
    environment: str,
    mode: Mode,
    say: Say,
    log: Path,
    own_models: Path | None = None,
    startup: float = STARTUP,
) -> str:
    """The URL of the app that serves `model`, which has loaded it when this returns.

    Arguments as those of `ensure_services`. It is to be called before that one: a gateway looks for the
    addresses of vLLM models when it starts. Raises `UserError` with the command that mends it.
    """
    app = vllm_app(model, own_models)
    deployed, now = ensure_app(app, environment, mode, say, log)
    if now:
        _renew_gateway(environment, own_models, log)

    def ready(answer: Answer) -> bool:
        return answer.status == 200

    def progress(seconds: float) -> None:
        say(
            f"{model} is waking up: {seconds:.0f} s so far; 60 to 90 s is normal, "
            "and some minutes the first time, when the weights are downloaded."
        )

    last = wait_until_ready(deployed.url, ready, startup, progress)
    if not ready(last):
        raise UserError(
            f"{model} is not ready after {startup:g} s: {last}.\n"
            f"  Its log: modal app logs {app.name} --env {environment}\n"
            f"  To deploy it anew: --goat-deploy always, or {app.command(environment)}"
        )
    return deployed.url


def _renew_gateway(environment: str, own_models: Path | None, log: Path) -> None:
    """Let new containers take over from those that started before the model's app was there."""
    services = services_app(own_models)
    if look_up(services, environment) is not None:
        run_modal(["app", "rollover", services.name, "--env", environment], environment, log)

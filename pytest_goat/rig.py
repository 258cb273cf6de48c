"""From the settings to what trials are executed with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_goat.agent.factory import make_agent
from pytest_goat.errors import UserError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.replay import is_replay
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.settings import Settings
from pytest_goat.task import JudgeCheck, Trial
from pytest_goat.trial import Rig, trial_key

OPENAI_URL = "https://api.openai.com/v1"


def api_url(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    return settings.api_url or environ.get("OPENAI_BASE_URL") or OPENAI_URL


def secrets(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values that no result, log or report may show."""
    key = environ.get(settings.api_key_env, "")
    return (key,) if key else ()


def make_rig(settings: Settings, run_id: str, scratch: Path) -> Rig:
    """Put together backend, agent and gateway; nothing is started yet.

    `scratch` is a folder of this process's own. Raises `UserError` for what can be told without starting.
    """
    agent = make_agent(settings.agent, scratch)
    agent.check()
    models = list(settings.labels) if agent.needs_model else []
    gateway = make_gateway(
        [*models, *([settings.judge_model] if settings.judge_model else [])],
        api_url(settings),
        os.environ.get(settings.api_key_env, ""),
        settings.model_timeout,
        settings.api_key_env,
    )
    backend = LocalBackend(engine=settings.sandbox, unsafe=settings.unsafe_local)
    return Rig(run_id, backend, agent, gateway, settings.retries, settings.judge_model)


async def preflight(rig: Rig, settings: Settings, trials: Sequence[Trial], *, asked: bool) -> None:
    """Find out, before any sandbox exists, whether the models can serve `trials`.

    `asked`: the controller has asked the models already, so a worker does not. Raises `UserError`.
    """
    judged = [trial for trial in trials if any(isinstance(check, JudgeCheck) for check in trial.task.checks)]
    if judged and settings.judge_model is None:
        raise UserError(
            f"{judged[0].node_id} has a `judge` check, and no model judges.\n"
            "  Name one with --goat-judge-model, or leave such tasks out (-k)."
        )
    models = settings.labels if rig.agent.needs_model else ()
    for model in models:
        keys = [trial_key(trial, rig.run_id) for trial in trials if trial.model == model]
        if not asked or is_replay(model):
            await rig.gateway.preflight(model, keys)
    if settings.judge_model and not asked:
        await rig.gateway.preflight(settings.judge_model, [])


def default_parallel() -> int:
    """Trials at once on this machine: a trial mostly waits for its model, and its checks take a core."""
    return min(16, 2 * (os.cpu_count() or 1))

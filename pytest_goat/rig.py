"""From the settings to what trials are executed with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_goat.agent.factory import make_agent
from pytest_goat.errors import UserError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import TrialKey
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.settings import Settings
from pytest_goat.task import JudgeCheck
from pytest_goat.trial import Rig, Trial, trial_key

OPENAI_URL = "https://api.openai.com/v1"
MODELLESS = ("oracle", "nop")


def model_labels(settings: Settings) -> tuple[str, ...]:
    """What stands in the node ids: the models, or the agent's name when it calls none."""
    if settings.agent in MODELLESS:
        return (settings.agent,)
    return settings.model or ("replay",)


def api_url(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    return settings.api_url or environ.get("OPENAI_BASE_URL") or OPENAI_URL


def secrets(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values that no result, log or report may show."""
    key = environ.get(settings.api_key_env, "")
    return (key,) if key else ()


def make_rig(settings: Settings, run_id: str, scratch: Path) -> Rig:
    """Put together backend, agent and gateway; nothing is started. Raises `UserError`."""
    models = model_labels(settings) if settings.agent not in MODELLESS else ()
    asked = [*models, *([settings.judge_model] if settings.judge_model else [])]
    gateway = make_gateway(
        api_url=api_url(settings),
        api_key=os.environ.get(settings.api_key_env, ""),
        api_key_env=settings.api_key_env,
        model_timeout=settings.model_timeout,
    )
    agent = make_agent(settings.agent, scratch)
    agent.check()
    backend = LocalBackend(engine=settings.sandbox, unsafe=settings.unsafe_local)
    return Rig(run_id, backend, agent, gateway, settings.retries, settings.judge_model)


def default_parallel() -> int:
    """Trials at once on this machine: a trial mostly waits for its model, and its checks take a core."""
    return min(16, 2 * (os.cpu_count() or 1))

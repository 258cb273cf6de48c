"""From the settings to what trials are executed with."""

from __future__ import annotations

import os
import re
import secrets as random_secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_goat.agent.base import Agent
from pytest_goat.agent.factory import make_agent
from pytest_goat.cloud.client import configured
from pytest_goat.errors import UserError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Gateway
from pytest_goat.gateway.replay import is_replay
from pytest_goat.sandbox.base import Backend
from pytest_goat.settings import MODELLESS, Settings
from pytest_goat.task import JudgeCheck, Machine, Trial
from pytest_goat.trial import Rig, trial_key

if TYPE_CHECKING:
    from pytest_goat.deploy.apps import Mode
    from pytest_goat.gateway.upstream import Upstream
    from pytest_goat.models import Models

OPENAI_URL = "https://api.openai.com/v1"
BASE_URL = "OPENAI_BASE_URL"

REMOTE_PARALLEL = 32
"""Trials at once that run on other machines, and here mostly wait."""

DEPLOY_LOG = "deploy.log"
"""What `modal deploy` said, in the run's folder."""

_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS|DATABASE_URL)$", re.IGNORECASE)
_SECRET_LENGTH = 12
"""Characters from which on the value of a variable with such a name is taken for a secret."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on."""

    settings: Settings
    run_id: str
    environ: Mapping[str, str]
    scratch: Path
    """A folder of this process's own."""
    logs: Path
    """Where the services that are started write their logs."""
    worker: str = ""
    """The id of this process among several of one run."""
    handed: Mapping[str, str] = field(default_factory=dict)
    """What the process that leads has made already (`handover`)."""
    say: Callable[[str], object] = lambda _: None
    """Shows a line of progress."""

    @property
    def models(self) -> tuple[str, ...]:
        """All that is asked, the judge's among them."""
        settings = self.settings
        models = () if settings.agent in MODELLESS else settings.labels
        return tuple(dict.fromkeys([*models, *([settings.judge_model] if settings.judge_model else [])]))

    @property
    def own_models(self) -> Path | None:
        """The file of the user's own rows for the table of models."""
        return Path(self.settings.models) if self.settings.models else None


def secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values that no result, log or report may show: those of variables whose names say so."""
    named = {name for name in environ if _SECRET.search(name) and len(environ[name]) >= _SECRET_LENGTH}
    return tuple(environ[name] for name in sorted(named | {settings.api_key_env}) if environ.get(name))


def backend_name(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """`local` or `modal`, and why."""
    if settings.backend != "auto":
        return settings.backend, "as asked"
    if settings.agent in MODELLESS or all(is_replay(model) for model in settings.labels):
        return "local", "no real model is asked"
    if settings.api_url:
        return "local", "--goat-api-url is reached from here"
    if configured(environ):
        return "modal", "Modal is configured"
    return "local", "Modal is not configured"


def make_rig(ground: Ground) -> Rig:
    """Put together backend, agent and gateway. Services on Modal are there when this returns.

    Raises `UserError` for what can be told without starting a trial.
    """
    settings = ground.settings
    agent = make_agent(settings.agent, ground.scratch)
    agent.check()
    on_modal = backend_name(settings, ground.environ)[0] == "modal"
    backend = _modal_backend(ground, agent) if on_modal else _local_backend(settings)
    gateway = _deployed_gateway(ground) if on_modal and ground.models else _own_gateway(ground)
    return Rig(
        ground.run_id,
        backend,
        agent,
        gateway,
        settings.retries,
        settings.judge_model,
        settings.max_trial_cost,
        record=settings.record is not None,
        max_wait=settings.max_wait,
    )


def handover(rig: Rig) -> dict[str, str]:
    """What the other processes of a run are handed by the one that leads, when it has started. Secret."""
    return rig.backend.handover() | rig.gateway.handover()


def _local_backend(settings: Settings) -> Backend:
    from pytest_goat.sandbox.local.backend import LocalBackend

    return LocalBackend(engine=settings.sandbox, unsafe=settings.unsafe_local)


def _modal_backend(ground: Ground, agent: Agent) -> Backend:
    from pytest_goat.sandbox.modal.backend import ModalBackend

    return ModalBackend(
        run_id=ground.run_id,
        environment=ground.settings.modal_env,
        create_rate=ground.settings.create_rate,
        worker=ground.worker,
        mounts=agent.mounts,
        image_id=ground.handed.get("image_id", ""),
    )


def _deployed_gateway(ground: Ground) -> Gateway:
    """The one on Modal, deployed when it has to be, with the vLLM models that it leads to."""
    from pytest_goat.gateway.dict_shelf import DictShelf
    from pytest_goat.gateway.remote import RemoteGateway

    settings, environment = ground.settings, ground.settings.modal_env
    if settings.api_url:
        raise UserError(
            "--goat-api-url leads from this machine; on Modal the deployed gateway is asked.\n"
            "  Leave it out and name a row of the table (`goat models`), or take --goat-backend local."
        )
    handed = ground.handed
    return RemoteGateway(
        ensure_gateway(ground),
        # Without a leading process, each has a secret of its own and so is a run of its own to the gateway.
        ground.run_id if handed or not ground.worker else f"{ground.run_id}-{ground.worker}",
        bytes.fromhex(handed["run_secret"]) if handed else random_secrets.token_bytes(32),
        ground.models,
        settings.model_timeout,
        shelf=None if handed else DictShelf(environment),
        environment=environment,
        progress=ground.say,
    )


def ensure_gateway(ground: Ground) -> str:
    """The URL of the gateway on Modal, with the vLLM models that it leads to. Raises `UserError`."""
    from pytest_goat.deploy.services import ensure_services

    if url := ground.handed.get("gateway_url"):
        return url
    ensure_models(ground)
    settings = ground.settings
    return ensure_services(
        settings.modal_env, _mode(settings), ground.say, ground.logs / DEPLOY_LOG, ground.own_models
    )


def ensure_models(ground: Ground) -> dict[str, str]:
    """The models that vLLM serves on Modal, with their URLs; each is ready. Raises `UserError`."""
    real = [model for model in ground.models if not is_replay(model)]
    if not real:
        return {}
    from pytest_goat.deploy.vllm import ensure_vllm

    settings, table, today = ground.settings, _table(ground), date.today()
    found = {}
    for row in (table.get(model) for model in real):
        if row.retired(today):
            raise UserError(f"Model '{row.name}' {row.notice(today)}")
        if row.vllm is not None:
            found[row.name] = ensure_vllm(
                row.name,
                settings.modal_env,
                _mode(settings),
                ground.say,
                ground.logs / DEPLOY_LOG,
                ground.own_models,
            )
    return found


def _own_gateway(ground: Ground) -> Gateway:
    """The one in this process: recordings, LiteLLM for rows of the table, an address for all others."""
    settings, environ = ground.settings, ground.environ
    return make_gateway(
        ground.models,
        settings.api_url or environ.get(BASE_URL) or OPENAI_URL,
        environ.get(settings.api_key_env, ""),
        settings.model_timeout,
        settings.api_key_env,
        _by_litellm(ground),
    )


def _by_litellm(ground: Ground) -> Mapping[str, Upstream]:
    """The models that LiteLLM serves: those of the table, unless the user gave an address for them."""
    settings, environ = ground.settings, ground.environ
    real = [model for model in ground.models if not is_replay(model)]
    if settings.api_url or not real:
        return {}
    table = _table(ground)
    given = environ.get(BASE_URL, "")
    rows = [m for m in real if m in table and (not given or table.get(m).usable(environ, date.today()))]
    if not given and not environ.get(settings.api_key_env):
        for model in real:
            table.get(model)  # there is no other place where it could be
    if not rows:
        return {}
    if settings.max_trial_cost is not None:
        for name in rows:
            if table.get(name).price is None:
                ground.say(f"--goat-max-trial-cost does not bound {name}: nobody has said its price")
    from pytest_goat.gateway.litellm import LiteLLMUpstream, Running

    handed = ground.handed
    at = Running(handed["litellm_url"], handed["litellm_key"]) if "litellm_url" in handed else ground.logs
    return dict.fromkeys(rows, LiteLLMUpstream(table, rows, at, environ))


def retirements(ground: Ground) -> list[str]:
    """A line for each model of the run that its provider has ended, or will soon. Raises `UserError`.

    Of models at `--goat-api-url` nothing is known, whatever their names.
    """
    real = [model for model in ground.models if not is_replay(model)]
    if ground.settings.api_url or not real:
        return []
    table = _table(ground)
    return table.notices((model for model in real if model in table), date.today())


def _mode(settings: Settings) -> Mode:
    return cast("Mode", settings.deploy)


def _table(ground: Ground) -> Models:
    # Reading YAML costs more than a run with recordings alone should pay.
    from pytest_goat.models import load_models

    return load_models(ground.own_models)


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
    if rig.backend.name == "local":
        _check_machines(trials)
    models = settings.labels if rig.agent.needs_model else ()
    for model in models:
        keys = [trial_key(trial, rig.run_id) for trial in trials if trial.model == model]
        if not asked or is_replay(model):
            await rig.gateway.preflight(model, keys)
    if settings.judge_model and not asked:
        await rig.gateway.preflight(settings.judge_model, [])


def _check_machines(trials: Sequence[Trial]) -> None:
    """A local sandbox is this machine: a task that needs another one would fail for no fault of its own."""
    for trial in trials:
        if trial.task.machine != Machine():
            raise UserError(
                f"{trial.node_id} names an image, a setup, a GPU or cores, which only Modal can give.\n"
                "  Run it with --goat-backend modal, or leave such tasks out (-k)."
            )


def default_parallel(backend: str) -> int:
    """Trials at once in one process: here, one mostly waits for its model and its checks take a core."""
    return REMOTE_PARALLEL if backend == "modal" else min(16, 2 * (os.cpu_count() or 1))

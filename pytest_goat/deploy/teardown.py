"""Stops all that runs on Modal for pytest-goat; data and secrets stay until a person deletes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pytest_goat.cloud import names
from pytest_goat.cloud.client import connect
from pytest_goat.deploy.apps import Say, asked

VOLUMES = (names.RESULTS_VOLUME, names.PGDATA_VOLUME, names.MODEL_CACHE_VOLUME)
SECRETS = (
    names.PROVIDERS_SECRET,
    names.LITELLM_SECRET,
    names.LANGFUSE_SECRET,
    names.POSTGRES_SECRET,
    names.HUGGINGFACE_SECRET,
)


def teardown(environment: str, say: Say) -> None:
    """Stop the services, every vLLM app and every sandbox in the Modal environment `environment`.

    `say` tells what was stopped, what is left, and the commands that delete it. It may be run again. Raises
    `UserError` when Modal cannot be asked.
    """
    asyncio.run(_teardown(environment, say))


async def _teardown(environment: str, say: Say) -> None:
    await connect(environment)
    import modal

    apps = await asked(modal.Environment.from_name(environment).apps.list.aio(), "listing the apps")
    ours = [app for app in apps if app.name is not None and _is_ours(app.name)]
    for app in ours:
        await asked(app.stop.aio(), f"stopping {app.name}")
        say(f"stopped {app.name}, with all its containers and sandboxes")
    if not ours:
        say(f"nothing of pytest-goat runs in the Modal environment {environment}")
    volumes = await asked(modal.Volume.objects.list.aio(environment_name=environment), "listing the volumes")
    secrets = await asked(modal.Secret.objects.list.aio(environment_name=environment), "listing the secrets")
    left = [
        *_left("volume", VOLUMES, (volume.name for volume in volumes), environment),
        *_left("secret", SECRETS, (secret.name for secret in secrets), environment),
    ]
    if left:
        say("Data and secrets are still there, and cost nothing but storage. To delete them for good:")
    for command in left:
        say(f"  {command}")


def _is_ours(app: str) -> bool:
    return app in (names.SERVICES_APP, names.SANDBOX_APP) or app.startswith(f"{names.VLLM_APP}-")


def _left(kind: str, ours: Iterable[str], there: Iterable[str | None], environment: str) -> list[str]:
    """The commands that delete those of ours that are there."""
    found = set(there)
    return [f"modal {kind} delete {name} --env {environment}" for name in ours if name in found]

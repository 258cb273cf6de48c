"""Looks at what is on Modal. Nothing of it is changed, but for a file that is written and removed again."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections import Counter
from collections.abc import Sequence

from pytest_goat.cloud import names
from pytest_goat.cloud.client import configured, connect
from pytest_goat.cloud.errors import Verdict, verdict
from pytest_goat.deploy.apps import Deployed, asked, look_up
from pytest_goat.deploy.services import services_app
from pytest_goat.doctor.finding import Answer, Probe, missing, ok, skipped
from pytest_goat.errors import UserError
from pytest_goat.rig import Ground

_CALL = 25.0
"""Seconds for a look; the calls in it have deadlines of their own, which say more."""
_FILES = 60.0
COLD_START = 120.0
"""Seconds that a gateway that sleeps may take to answer."""

_GATEWAY_SECRETS = (names.PROVIDERS_SECRET, names.LITELLM_SECRET)
_LANGFUSE_SECRETS = (names.LANGFUSE_SECRET, names.POSTGRES_SECRET)


class Cloud:
    """`needed`: whether a run would be on Modal."""

    def __init__(self, ground: Ground, *, needed: bool) -> None:
        self._ground, self._needed = ground, needed
        self._environment = ground.settings.modal_env
        self._environment_is_there = False
        self._deployed: Deployed | None = None

    def way(self) -> Sequence[Probe]:
        """From the token to the gateway."""
        return (
            Probe("token", self._token, _CALL),
            Probe("environment", self._look_for_environment, _CALL, "token"),
            Probe("secrets", self._secrets, _CALL, "environment"),
            Probe("services", self._services, _CALL, "environment"),
            Probe("gateway", self._gateway, COLD_START + _CALL, "services"),
        )

    def keeping(self) -> Sequence[Probe]:
        """What is kept between runs."""
        return (
            Probe("volume", self._volume, _FILES, "environment"),
            Probe("leftovers", self._leftovers, _CALL, "environment"),
        )

    def _token(self) -> Answer:
        if not configured(self._ground.environ):
            install = "" if importlib.util.find_spec("modal") else "pip install 'pytest-goat[modal]' && "
            mend = f"{install}modal token new && {self._setup}"
            if self._needed:
                return missing("Modal is not configured", mend)
            return skipped("Modal is not configured, and not needed for local runs", mend)
        try:
            asyncio.run(connect(self._environment))
            self._environment_is_there = True
        except UserError as error:
            # Whoever is told that an environment is missing has shown a token that is good.
            if error.__cause__ is None or verdict(error.__cause__) is not Verdict.MISSING:
                raise
        return ok("Modal takes it")

    def _look_for_environment(self) -> Answer:
        if self._environment_is_there:
            return ok(self._environment)
        return self._not_there(f"there is no environment {self._environment}", self._setup)

    def _secrets(self) -> Answer:
        there = asyncio.run(_secret_names(self._environment))
        langfuse = self._ground.environ.get("LANGFUSE_HOST", "")
        is_elsewhere = langfuse and names.OWN_LANGFUSE not in langfuse
        wanted = _GATEWAY_SECRETS if is_elsewhere else _GATEWAY_SECRETS + _LANGFUSE_SECRETS
        lacking = [name for name in wanted if name not in there]
        if lacking:
            return missing(f"there is no {', no '.join(lacking)}", self._setup)
        return ok(", ".join(wanted))

    def _services(self) -> Answer:
        app = services_app(self._ground.own_models)
        command = app.command(self._environment)
        self._deployed = look_up(app, self._environment)
        if self._deployed is None:
            return self._not_there(f"{app.name} is not deployed", command)
        if self._deployed.hash == app.hash:
            return ok(f"{app.name} is deployed, as this machine has it")
        return ok(
            f"{app.name} is deployed, but not as this machine has it; the next run deploys it anew", command
        )

    def _gateway(self) -> Answer:
        assert self._deployed is not None, "it stands on the services"  # noqa: S101
        asyncio.run(self._wait_for_gateway(self._deployed.url))
        return ok(f"{self._deployed.url} answers")

    async def _wait_for_gateway(self, url: str) -> None:
        from pytest_goat.gateway.client import GatewayClient

        client = GatewayClient(url, "", b"", self._environment)
        await client.open()
        try:
            await client.wait_until_healthy(COLD_START, self._ground.say)
        finally:
            await client.close()

    def _volume(self) -> Answer:
        from pytest_goat.store.remote import VolumeUnavailable

        try:
            return asyncio.run(self._write_and_read())
        except VolumeUnavailable as error:
            return missing(f"{names.RESULTS_VOLUME}: {error}", "Is Modal up? See https://status.modal.com")

    async def _write_and_read(self) -> Answer:
        from pytest_goat.store.remote import ResultsVolume

        volume = await ResultsVolume.find(self._environment)
        if volume is None:
            return self._not_there(
                f"there is no {names.RESULTS_VOLUME} yet",
                f"modal volume create {names.RESULTS_VOLUME} --version 2 --env {self._environment}",
            )
        # A file, not a folder: what lists runs does not see it.
        path, content = f".doctor-{secrets.token_hex(8)}", secrets.token_bytes(64)
        await volume.put({path: content})
        try:
            same = await volume.read(path) == content
        finally:
            await volume.remove(path)
        if not same:
            return missing(f"{names.RESULTS_VOLUME} gives back something else than was written", "Try again.")
        return ok(f"{names.RESULTS_VOLUME} takes a file and gives it back")

    def _leftovers(self) -> Answer:
        from pytest_goat.sandbox.modal.ledger import leftovers

        runs = Counter(left.run for left in asyncio.run(leftovers(self._environment)))
        if not runs:
            return ok("none is left")
        told = ", ".join(f"{count} of run {run or '?'}" for run, count in sorted(runs.items()))
        mends = [f"goat cleanup --run {run} --modal-env {self._environment}" for run in sorted(runs) if run]
        return ok(f"alive: {told}; when such a run has ended, nobody needs them", "\n".join(mends))

    def _not_there(self, words: str, mend: str) -> Answer:
        return missing(words, mend) if self._needed else skipped(words, mend)

    @property
    def _setup(self) -> str:
        return f"python infra/setup.py --env {self._environment}"


async def _secret_names(environment: str) -> set[str | None]:
    import modal

    found = await asked(modal.Secret.objects.list.aio(environment_name=environment), "listing the secrets")
    return {secret.name for secret in found}

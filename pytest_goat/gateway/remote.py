"""The host's side of a deployed gateway: it signs the trials' tokens, and reads what was seen of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from pytest_goat.cloud.names import ENVIRONMENT, SERVICES_APP
from pytest_goat.errors import Cause, GatewayError, TaskError, UserError
from pytest_goat.gateway import preflight
from pytest_goat.gateway.ask import ask
from pytest_goat.gateway.base import ModelCall, Seen, TrialKey, Usage, Waiting
from pytest_goat.gateway.client import GatewayClient, Progress
from pytest_goat.gateway.direct import DirectUpstream
from pytest_goat.gateway.exchange import Exchange, Sink
from pytest_goat.gateway.heard import Heard
from pytest_goat.gateway.log import call_from
from pytest_goat.gateway.record import CallRecord
from pytest_goat.gateway.recordings import DiskRecordings, recording_name
from pytest_goat.gateway.replay import is_replay
from pytest_goat.gateway.shelf import Shelf
from pytest_goat.gateway.token import Claims, RunRecord, claims_for, sign
from pytest_goat.redact import Redactor

RUN_LIFETIME = 24 * 3600.0
"""Seconds after which nothing of a run is worth anything to the gateway."""

COLD_START = 180.0
"""Seconds that a gateway that sleeps may take to answer."""

_FAREWELL = 5.0
"""Seconds for closing a trial, whose token expires by itself, too."""
_MARGIN = 10.0
"""Seconds by which the host waits longer than the gateway, which knows better why no answer comes."""
_HELD = 90.0
"""Seconds that a call of ours may be held back there by a rate limit, and some more."""
_WAITING_AGE = 2.0
"""Seconds until what is waiting there is asked anew."""
_SENDING = 16
"""Recordings that are on their way at once."""
_KEY_PLACE = "the provider's key (by `python infra/setup.py`, then deploy anew)"


class RemoteGateway:
    """`Gateway` at `url`, deployed in the Modal environment `environment`."""

    name = "modal"

    def __init__(
        self,
        url: str,
        run_id: str,
        secret: bytes,
        models: Iterable[str],
        model_timeout: float = 60.0,
        *,
        shelf: Shelf | None = None,
        environment: str = ENVIRONMENT,
        cold_start: float = COLD_START,
        progress: Progress = lambda _: None,
    ) -> None:
        """`secret`: of the run, the same in all its processes, at least 32 random bytes. `models`: all that
        its trials and its judge ask for. `model_timeout`: seconds without a byte after which a call ends.
        `shelf`: where `start` tells the gateway of this run; None where that has been done.
        `cold_start`: seconds that `start` waits, telling `progress`.
        """
        self.base_url = f"{url.rstrip('/')}/v1"
        self._models = tuple(models)
        self._shelf = shelf
        self._run_id, self._secret, self._model_timeout = run_id, secret, model_timeout
        self._cold_start, self._progress, self._environment = cold_start, progress, environment
        self._client = GatewayClient(url, run_id, secret, environment)
        self._disk = DiskRecordings()
        self._sent: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Semaphore(_SENDING)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: tuple[Waiting, ...] = ()
        self._asked = -math.inf
        self._asking: asyncio.Task[None] | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self._client.host,)

    def handover(self) -> dict[str, str]:
        return {"gateway_url": self.base_url.removesuffix("/v1"), "run_secret": self._secret.hex()}

    async def start(self) -> None:
        """Wait until the gateway answers. Raises `UserError` when it does not in time, or is not there."""
        self._loop = asyncio.get_running_loop()
        await self._client.open()
        try:
            if self._shelf is not None:
                record = RunRecord(self._secret, self._models, time.time() + RUN_LIFETIME)
                await self._shelf.put(RunRecord.key(self._run_id), record.to_bytes())
            await self._client.wait_until_healthy(self._cold_start, self._progress)
        except BaseException as error:
            await self._client.close()
            if isinstance(error, GatewayError):
                raise UserError(str(error)) from error
            raise

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        """As `Gateway.preflight`; recordings are sent on this occasion."""
        self._check(model)
        if not is_replay(model):
            await self._ask_for_a_word(model)
            return
        self._disk.check(model, keys)
        try:
            await asyncio.gather(*(self._sent[self._send(key)] for key in keys))
        except GatewayError as error:
            raise UserError(f"The recordings cannot be sent: {error}") from error

    def open(self, key: TrialKey, model_timeout: float | None = None) -> RemoteEndpoint:
        self._check(key.model)
        key = dataclasses.replace(key, run_id=self._run_id)
        limit = self._model_timeout if model_timeout is None else min(model_timeout, self._model_timeout)
        if is_replay(key.model):
            # Where there is none, the gateway says so when the agent asks.
            with contextlib.suppress(UserError):
                key = dataclasses.replace(key, recording=self._send(key))
        return RemoteEndpoint(self._client, self.base_url, self._secret, key, limit)

    def waiting(self) -> Sequence[Waiting]:
        """As one of its containers told a few seconds ago: asked only where somebody wants to know."""
        if self._loop is not None and time.monotonic() > self._asked + _WAITING_AGE:
            self._asked = time.monotonic()
            self._loop.call_soon_threadsafe(self._ask_what_waits)
        return self._waiting

    def _ask_what_waits(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._hear_what_waits())

    async def _hear_what_waits(self) -> None:
        try:
            answer = await self._client.request("GET", "/goat/waiting", within=_FAREWELL)
            self._waiting = tuple(Waiting(**row) for row in answer["waiting"])
        except (GatewayError, TypeError, LookupError):
            self._waiting = ()  # nothing that a run could fail of

    async def stop(self) -> None:
        tasks = [*self._sent.values(), *([self._asking] if self._asking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def _check(self, model: str) -> None:
        if model not in self._models:
            known = ", ".join(sorted(self._models))
            raise UserError(f"the gateway knows no model '{model}', only: {known}")

    async def _ask_for_a_word(self, model: str) -> None:
        key = TrialKey(self._run_id, "preflight", "preflight", model)
        endpoint = self.open(key)
        upstream = DirectUpstream(endpoint.base_url, endpoint.api_key, _KEY_PLACE)
        await upstream.start()
        try:
            await preflight.check(upstream, model, max(preflight.DEADLINE, self._model_timeout))
        except UserError as error:
            raise UserError(
                f"{error}\n  The gateway's log: modal app logs {SERVICES_APP} --env {self._environment}"
            ) from None
        finally:
            await upstream.stop()
            await endpoint.close()

    def _send(self, key: TrialKey) -> str:
        """Start to send the recording for `key`, unless that has been done; its name at the gateway.

        Raises `UserError` when there is none.
        """
        data = self._disk.read(key).to_bytes()
        name = recording_name(data)
        if name not in self._sent:
            task = self._sent[name] = asyncio.create_task(self._put(name, data))
            # Whoever waits for it gets what it raises; where nobody does, an agent's call will tell.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return name

    async def _put(self, name: str, data: bytes) -> None:
        async with self._sending:
            await self._client.request("PUT", f"/goat/recordings/{name}", data)


class RemoteEndpoint:
    """`Endpoint` of one trial at a deployed gateway."""

    def __init__(
        self, client: GatewayClient, base_url: str, secret: bytes, key: TrialKey, model_timeout: float
    ) -> None:
        self.base_url = base_url
        self._client, self._secret, self._key, self._model_timeout = client, secret, key, model_timeout
        self._nonce = secrets.token_hex(8)
        self._opened = time.time()
        self._workdir = ""
        self._claims: Claims | None = None
        self._closed = False

    @property
    def api_key(self) -> str:
        """The trial's token: made when first asked for, so that it says the workdir."""
        if self._claims is None:
            self._claims = claims_for(
                self._key, self._nonce, self._opened, self._model_timeout, self._workdir
            )
        return sign(self._claims, self._secret)

    def attach(self, listener: socket.socket, private: bool) -> None:
        """Nothing is served here."""

    def set_workdir(self, workdir: str) -> None:
        self._workdir = workdir

    async def ask(self, prompt: str) -> str:
        return await ask(self._call, self._key.model, prompt)

    async def _call(self, raw: bytes, sink: Sink) -> ModelCall:
        if self._closed:
            raise GatewayError(Cause.INTERNAL, "the trial's endpoint is closed")
        upstream = DirectUpstream(self.base_url, self.api_key)
        redactor = Redactor(upstream.secrets)
        record = CallRecord(time.monotonic(), redactor)
        await upstream.start()
        try:
            exchange = Exchange(upstream, redactor, self._model_timeout + _MARGIN + _HELD)
            await exchange.carry(raw, self._key, "", record, sink)
        finally:
            await upstream.stop()
        return record.as_call()

    async def seen(self) -> Seen:
        """As `Endpoint.seen`. Raises `GatewayError` when the gateway does not tell."""
        if self._claims is None:
            return Seen()
        answer = await self._client.request("GET", _path(self._claims, "seen"))
        try:
            calls = tuple(self._as_seen_here(call_from(call)) for call in answer["calls"])
            heard = tuple(Heard.from_json(said) for said in answer["heard"])
        except (TypeError, ValueError, LookupError, TaskError) as error:
            message = "the gateway is of another version: deploy it anew, with --goat-deploy always"
            raise GatewayError(Cause.INTERNAL, message) from error
        return Seen(calls, sum((call.usage for call in calls), Usage()), heard)

    async def waited(self) -> float:
        if self._claims is None:
            return 0.0
        answer = await self._client.request("GET", _path(self._claims, "waited"))
        return float(answer["waited"])

    def _as_seen_here(self, call: ModelCall) -> ModelCall:
        return dataclasses.replace(call, started=max(0.0, call.started - self._opened))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._claims is not None:
            with contextlib.suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._client.request("POST", _path(self._claims, "close"), within=_FAREWELL)


def _path(claims: Claims, what: str) -> str:
    return f"/goat/trials/{quote(claims.attempt, safe='')}/{what}"

"""The Modal backend: connects, has images built, opens sandboxes at a bounded rate, leaves none behind."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ipaddress
import math
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_goat.cloud import names
from pytest_goat.cloud.client import CONNECT_WITHIN, connect, within
from pytest_goat.cloud.errors import Verdict, sandbox_error, user_error, verdict
from pytest_goat.cloud.limiter import CreationLimiter
from pytest_goat.errors import Cause, SandboxError, UserError
from pytest_goat.sandbox.base import MB, Mount, SandboxSpec
from pytest_goat.sandbox.modal.images import Images
from pytest_goat.sandbox.modal.ledger import RUN_TAG, TRIAL_TAG, WORKER_TAG, Ledger
from pytest_goat.sandbox.modal.sandbox import Deadlines, ModalSandbox
from pytest_goat.task import Machine

if TYPE_CHECKING:
    from modal import App, Image, Sandbox

PREFETCH = 8 * MB
"""Bytes of each of `workdir` and `outdir` that come with the reply to a command."""
_STARTING = 64
"""Sandboxes between their making and the start of their first command; the others wait."""
_PATIENCE = 900.0
"""Seconds that a sandbox is waited for while quotas are used up."""
_IDLE = 300
"""Seconds after which a sandbox ends that nobody uses. A command is use; a judge at work is none."""
_MARGIN = 60
"""Seconds of lifetime beyond what is asked for: the machine has to come up."""
_LONGEST_LIFE = 24 * 3600
"""Seconds: Modal's own bound."""
_CPU, _MOST_CPU = 0.25, 2.0
"""Cores that are reserved, and that may be used."""
_MEMORY = 256
"""MB that are reserved."""
_SPARE_MEMORY = 256
"""MB beyond the limit of the commands, for what watches them: at its own limit, Modal ends the sandbox."""
_STOP_WITHIN = 9.0
"""Seconds."""


class ModalBackend:
    """Makes sandboxes in the app `goat-sandbox` of a Modal environment.

    `create_rate`: sandboxes per second, of all processes of this machine. `worker`: the id of this process
    among several of one run. `mounts`: what the agent needs (`Agent.mounts`), which goes into the image that
    `start` builds; `image_id`: the image that another process has built so (see `handover`). `limits_folder`
    keeps what the processes share of the rate.
    """

    def __init__(
        self,
        *,
        run_id: str,
        environment: str = names.ENVIRONMENT,
        create_rate: float = 5.0,
        worker: str = "",
        mounts: Sequence[Mount] = (),
        image_id: str = "",
        prefetch: int = PREFETCH,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - frozen
        patience: float = _PATIENCE,
        connect_within: float = CONNECT_WITHIN,
        limits_folder: Path | None = None,
    ) -> None:
        self._run_id, self._environment, self._worker = run_id, environment, worker
        self._mounts, self._image_id = tuple(mounts), image_id
        self._prefetch, self._deadlines, self._patience = prefetch, deadlines, patience
        self._connect_within = connect_within
        self._rate, self._limits_folder = create_rate, limits_folder
        self._ledger = Ledger(deadlines.end)
        self._opened: weakref.WeakSet[ModalSandbox] = weakref.WeakSet()
        self._creating: set[asyncio.Task[Sandbox]] = set()
        self._endings: set[asyncio.Future[None]] = set()
        self._starting = asyncio.Semaphore(_STARTING)
        self._made = self._cut = False
        self._app: App | None = None
        self._images: Images | None = None
        self._limiter: CreationLimiter | None = None

    @property
    def name(self) -> str:
        return "modal"

    @property
    def description(self) -> str:
        return f"modal (environment {self._environment}, app {names.SANDBOX_APP}; egress to the gateway only)"

    async def start(self) -> None:
        """Connect, and have the image built. Raises `UserError`, with the mend, where that fails."""
        connection = await connect(self._environment, seconds=self._connect_within)
        import modal

        try:
            self._limiter = CreationLimiter(self._rate, self._limits_folder)
        except OSError as error:
            raise UserError(f"modal: {error}: set TMPDIR to a folder of your own") from error
        try:
            self._app = await within(
                modal.App.lookup.aio(
                    names.SANDBOX_APP,
                    client=connection.client,
                    environment_name=self._environment,
                    create_if_missing=True,
                ),
                self._connect_within,
                f"looking up the app {names.SANDBOX_APP}",
            )
        except Exception as error:
            raise user_error(error, f"the app {names.SANDBOX_APP} cannot be had") from error
        self._images = Images(self._app)
        if self._image_id:
            self._images.adopt(Machine(), self._mounts, self._image_id)
        else:
            self._image_id = (await self._images.get(Machine(), self._mounts)).object_id
        # After the import of modal, whose own end would otherwise come first and close the connection.
        atexit.register(self._ledger.end_all_now)

    def handover(self) -> dict[str, str]:
        """After `start`: the image, so that other processes of this run need not build it."""
        self._made = True  # by them: what they leave is ended by this one
        return {"image_id": self._image_id}

    async def open(self, spec: SandboxSpec) -> ModalSandbox:
        """A fresh sandbox. Waits while quotas are used up, and while many others are still starting.

        Raises `SandboxError` when none can be had, `UserError` when none ever will.
        """
        if self._images is None:
            raise SandboxError(Cause.SANDBOX_LOST, "modal: the backend is not started")
        image = await self._images.get(spec.machine, spec.mounts)
        await self._starting.acquire()
        try:
            box = await self._create(self._arguments(spec, image))
        except BaseException:
            self._starting.release()
            raise
        sandbox = ModalSandbox(
            box,
            spec,
            prefetch=self._prefetch,
            deadlines=self._deadlines,
            on_started=self._starting.release,
            end=self._ledger.end,
        )
        self._opened.add(sandbox)
        return sandbox

    def _arguments(self, spec: SandboxSpec, image: Image) -> dict[str, Any]:
        machine = spec.machine
        lifetime = min(math.ceil(spec.lifetime) + _MARGIN, _LONGEST_LIFE)
        memory = math.ceil(spec.limits.memory / MB) + _SPARE_MEMORY
        tags = {RUN_TAG: self._run_id, TRIAL_TAG: spec.trial_id}
        return {
            "app": self._app,
            "image": image,
            "tags": tags | ({WORKER_TAG: self._worker} if self._worker else {}),
            "timeout": lifetime,
            "idle_timeout": min(_IDLE, lifetime),
            "cpu": (machine.cpu, machine.cpu) if machine.cpu else (_CPU, _MOST_CPU),
            "memory": (min(_MEMORY, memory), memory),
            "gpu": machine.gpu or None,
            **_egress(spec.hosts),
        }

    async def _create(self, arguments: dict[str, Any]) -> Sandbox:
        assert self._limiter is not None  # noqa: S101 - started
        patience = math.inf
        while True:
            slot = await self._limiter.slot(again=patience < math.inf)
            try:
                box = await self._create_once(arguments)
            except Exception as error:
                if verdict(error) is Verdict.QUOTA:
                    self._limiter.refused(slot)
                    patience = min(patience, time.monotonic() + self._patience)
                    if time.monotonic() < patience:
                        continue
                    # Another try of the trial would wait as long once more.
                    raise user_error(error, "a sandbox cannot be made") from error
                raise sandbox_error(error, "a sandbox cannot be made") from error
            self._limiter.granted()
            return box

    async def _create_once(self, arguments: dict[str, Any]) -> Sandbox:
        making = asyncio.ensure_future(self._make(arguments))
        self._creating.add(making)
        making.add_done_callback(self._creating.discard)
        try:
            return await within(asyncio.shield(making), self._deadlines.create, "making a sandbox")
        except (TimeoutError, asyncio.CancelledError):
            # Whatever becomes of it on the other side must not live on.
            self._cut = True
            making.add_done_callback(self._end_unwanted)
            raise

    async def _make(self, arguments: dict[str, Any]) -> Sandbox:
        import modal

        self._made = True
        box = await modal.Sandbox.create.aio(**arguments)
        self._ledger.add(box)
        return box

    def _end_unwanted(self, making: asyncio.Task[Sandbox]) -> None:
        if not making.cancelled() and making.exception() is None:
            self._keep(asyncio.ensure_future(self._ledger.end(making.result())))

    def _keep(self, ending: asyncio.Future[None]) -> None:
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def stop(self) -> None:
        """End every sandbox of this process, those too of which we were never told, within `_STOP_WITHIN`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_WITHIN):
                await self._stop()
        if not self._ledger:
            atexit.unregister(self._ledger.end_all_now)

    @property
    def left(self) -> str:
        if not self._ledger:
            return ""
        return (
            f"sandboxes that could not be ended in time: {len(self._ledger)}, which end by themselves later; "
            f"`goat cleanup --run {self._run_id}` ends what is left"
        )

    async def _stop(self) -> None:
        for making in list(self._creating):
            self._cut = True
            making.cancel()
        await asyncio.gather(*self._creating, return_exceptions=True)
        await asyncio.gather(*(sandbox.close() for sandbox in list(self._opened)), *self._endings)
        await self._ledger.end_all()
        if self._made:
            await self.sweep(self._worker, twice=self._cut)

    async def sweep(self, worker: str = "", *, twice: bool = False) -> int:
        """End what is left of this run, or of one worker of it, whoever made it; how many there were."""
        if self._app is None:
            return 0
        tags = {RUN_TAG: self._run_id} | ({WORKER_TAG: worker} if worker else {})
        return await self._ledger.sweep(self._app.app_id or "", tags, twice=twice)

    def end_all(self) -> None:
        """End every sandbox of this process, from a signal handler too; blocks for a few seconds at most."""
        self._ledger.end_all_now()


def _egress(hosts: Sequence[str]) -> dict[str, Any]:
    """What Modal is told of the hosts that may be reached: names and addresses are two lists."""
    if not hosts:
        return {"block_network": True}
    addresses = [network for host in hosts if (network := _network(host))]
    domains = [host for host in hosts if not _network(host)]
    return {"outbound_domain_allowlist": domains, "outbound_cidr_allowlist": addresses}


def _network(host: str) -> str:
    """A host given by its address as a network of one; "" for a name."""
    try:
        return str(ipaddress.ip_network(host))
    except ValueError:
        return ""

"""The program of the gateway's container: the recording proxy, and LiteLLM behind it on loopback.

    python -m pytest_goat.gateway.serve --port 4000 --shelf dict

Keys of providers come from the environment, and the names of files and hashes: GOAT_MODELS (rows of the
user's own, see `infra/models.yaml`) and GOAT_CONFIG_HASH (told by `/health`). Models without a key are left
out, and LiteLLM where none is left; recordings are always served. It serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

from yarl import URL

from pytest_goat import __version__
from pytest_goat.errors import UserError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.litellm import LiteLLMUpstream
from pytest_goat.gateway.recordings import MODEL, ShelfRecordings
from pytest_goat.gateway.replay import ReplayUpstream
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.served import ServedGateway
from pytest_goat.gateway.serving import LOGGER
from pytest_goat.gateway.shelf import MemoryShelf, Shelf
from pytest_goat.gateway.upstream import Answer, Upstream, UpstreamBroken
from pytest_goat.models import load_models

_BACKLOG = 1024
_LOOK = 2.0
"""Seconds between two looks whether LiteLLM still runs."""


class Starting:
    """An upstream that takes long to start: calls wait until it has."""

    def __init__(self, upstream: LiteLLMUpstream) -> None:
        self._upstream = upstream
        self._start: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._upstream.name

    @property
    def secrets(self) -> Sequence[str]:
        return self._upstream.secrets

    @property
    def ready(self) -> bool:
        start = self._start
        return start is not None and start.done() and not start.cancelled() and start.exception() is None

    async def start(self) -> None:
        """Begin to start; `watch` tells how that goes."""
        self._start = asyncio.create_task(self._upstream.start())

    async def watch(self) -> None:
        """Return when it has ended by itself. Raises `UserError` when it does not start."""
        await self._until_started()
        address = URL(self._upstream.running.url)
        with contextlib.suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(address.host, address.port)
                writer.close()
                await writer.wait_closed()
                await asyncio.sleep(_LOOK)

    def quota(self, model: str) -> str:
        return self._upstream.quota(model)

    def handover(self) -> dict[str, str]:
        return {}

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        await self._until_started()
        await self._upstream.preflight(model, keys)

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answer]:
        try:
            await self._until_started()
        except UserError as error:
            raise UpstreamBroken(Ending.UNREACHABLE, str(error)) from error
        async with self._upstream.answer(request) as answer:
            yield answer

    async def stop(self) -> None:
        if self._start is not None:
            self._start.cancel()
            await asyncio.gather(self._start, return_exceptions=True)
        await self._upstream.stop()

    async def _until_started(self) -> None:
        assert self._start is not None, "start() comes first"  # noqa: S101
        # A caller that gives up must not stop the start.
        await asyncio.shield(self._start)


async def serve(port: int, shelf: Shelf, environ: Mapping[str, str], folder: Path) -> None:
    """Serve on `port`, on all addresses, until SIGTERM; `folder` is for LiteLLM's configuration and log.

    Raises `UserError` when LiteLLM does not start, or ends by itself, and when the port is taken.
    """
    litellm, upstreams = _upstreams(shelf, environ, folder)

    def health() -> dict[str, Any]:
        return {
            "status": "ok" if litellm is None or litellm.ready else "starting",
            "config": environ.get("GOAT_CONFIG_HASH", ""),
            "version": __version__,
            "litellm": litellm is not None and litellm.ready,
        }

    gateway = ServedGateway(shelf, upstreams, health)
    await gateway.start(_listen(port))
    try:
        await _until_the_end(litellm)
    finally:
        await gateway.stop()


def _upstreams(
    shelf: Shelf, environ: Mapping[str, str], folder: Path
) -> tuple[Starting | None, dict[str, Upstream]]:
    """LiteLLM, when it has a model to serve, and what serves each model."""
    own = environ.get("GOAT_MODELS")
    models, today = load_models(Path(own) if own else None), date.today()
    names = [row.name for row in models if not (row.missing(environ) or row.retired(today))]
    upstreams: dict[str, Upstream] = {MODEL: ReplayUpstream(ShelfRecordings(shelf))}
    if not names:
        return None, upstreams
    litellm = Starting(LiteLLMUpstream(models, names, folder, environ, today))
    return litellm, upstreams | dict.fromkeys(names, litellm)


async def _until_the_end(litellm: Starting | None) -> None:
    """Wait for a signal to end. Raises `UserError` when LiteLLM ends before."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    waiting: set[asyncio.Task[Any]] = {asyncio.create_task(told.wait())}
    if litellm is not None:
        waiting.add(asyncio.create_task(litellm.watch()))
    done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        await task
    if not told.is_set():
        raise UserError("LiteLLM has ended: the gateway cannot serve without it")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        raise UserError(f"port {port}: {os.strerror(error.errno or 0)}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a signal, 1 when something is wrong, which stderr then says."""
    parser = argparse.ArgumentParser(prog="python -m pytest_goat.gateway.serve")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--shelf", choices=("memory", "dict"), default="memory", help="default: memory")
    options = parser.parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    LOGGER.addHandler(handler)
    try:
        with tempfile.TemporaryDirectory(prefix="goat-gateway-") as folder:
            asyncio.run(serve(options.port, _shelf(options.shelf), os.environ, Path(folder)))
    except UserError as error:
        sys.stderr.write(f"goat gateway: {error}\n")
        return 1
    return 0


def _shelf(kind: str) -> Shelf:
    if kind == "memory":
        return MemoryShelf()
    from pytest_goat.gateway.dict_shelf import DictShelf

    return DictShelf()


if __name__ == "__main__":
    sys.exit(main())

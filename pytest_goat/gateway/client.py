"""HTTP to a deployed gateway, in the name of one run: each request with a token and a deadline of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from yarl import URL

from pytest_goat import __version__
from pytest_goat.cloud.names import ENVIRONMENT, SERVICES_APP
from pytest_goat.errors import Cause, GatewayError, UserError
from pytest_goat.gateway.answer import read_error
from pytest_goat.gateway.direct import proxy_for, why_not
from pytest_goat.gateway.log import PATIENCE
from pytest_goat.gateway.token import RUN, Claims, sign

ANSWER = PATIENCE + 10.0
"""Seconds for one try of a request."""

PAUSES = (0.2, 1.0)
"""Seconds before the second and the third try."""

_CONNECT = 10.0
"""Seconds to get a connection: a host that is there gives one even while its container starts."""
_LOOK = 10.0
"""Seconds for one look at the gateway's health."""
_AGAIN = 1.0
"""Seconds between two looks."""
_PASSING = {429, 500, 502, 503, 504}

Progress = Callable[[str], object]
"""Told, every few seconds, what is waited for."""


class GatewayClient:
    """Calls the gateway at `url` for the run `run_id`; `environment` is that of Modal, for messages."""

    def __init__(self, url: str, run_id: str, secret: bytes, environment: str = ENVIRONMENT) -> None:
        self._url = URL(url.rstrip("/"))
        self._run_id, self._secret = run_id, secret
        self._environment = environment
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        return self._url.host or ""

    async def open(self) -> None:
        """Get ready; called on the loop that calls."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"pytest-goat/{__version__}"},
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def wait_until_healthy(self, within: float, progress: Progress) -> None:
        """Wait `within` seconds, while its container starts. Raises `UserError` with what is wrong."""
        now = asyncio.get_running_loop().time
        started = now()
        problem = "no answer"
        while now() < started + within:
            left = started + within - now()
            try:
                problem = await self._ill_health(min(_LOOK, left))
            except (aiohttp.ClientError, OSError) as error:
                problem = why_not(error)
                if now() >= started + _CONNECT:
                    break
            if not problem:
                return
            progress(f"waiting for the gateway ({now() - started:.0f} s): {problem}")
            await asyncio.sleep(min(_AGAIN, max(0.0, left)))
        raise UserError(
            f"The gateway at {self._url} is not ready after {now() - started:.0f} s: {problem}.\n"
            f"  Its log: {self._log_command}\n"
            "  What may be missing: goat doctor"
        )

    async def _ill_health(self, within: float) -> str:
        """What it still waits for; "" when it is healthy. Raises connection errors, and `UserError`."""
        try:
            async with asyncio.timeout(within):
                status, data = await self._send("GET", "/health", b"", "")
        except aiohttp.ClientError:
            raise
        except TimeoutError:
            return "its container starts"
        if status == 404:
            raise UserError(
                f"There is no gateway at {self._url}.\n"
                f"  Deploy it: modal deploy infra/services.py --env {self._environment}"
            )
        return "" if status == 200 else "LiteLLM starts" if status == 503 else _told(status, data)

    async def request(self, method: str, path: str, body: bytes = b"", within: float = ANSWER) -> Any:
        """What it answers, read from JSON. `within`: seconds for each of three tries.

        Raises `GatewayError` (unreachable) when it does not answer, or answers otherwise than with success.
        """
        token = sign(Claims(self._run_id, time.time() + 60 + within, RUN), self._secret)
        problem = ""
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(within):
                    status, data = await self._send(method, path, body, token)
                    if status < 300:
                        return json.loads(data)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                problem = f"no answer within {within:g} s" if _is_late(error) else why_not(error)
                continue
            problem = _told(status, data)
            if status not in _PASSING:
                break
        raise GatewayError(
            Cause.UNREACHABLE,
            f"the gateway at {self._url} failed: {problem}. "
            f"Its log: {self._log_command}. What may be missing: goat doctor",
        )

    async def _send(self, method: str, path: str, body: bytes, token: str) -> tuple[int, bytes]:
        assert self._session is not None, "open() comes first"  # noqa: S101
        async with self._session.request(
            method,
            self._url.joinpath(path.lstrip("/"), encoded=True),
            data=body,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            proxy=proxy_for(self._url),
            allow_redirects=False,
        ) as response:
            return response.status, await response.read()

    @property
    def _log_command(self) -> str:
        return f"modal app logs {SERVICES_APP} --env {self._environment}"


def _is_late(error: Exception) -> bool:
    return isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError)


def _told(status: int, data: bytes) -> str:
    """An answer that is no success, in words."""
    try:
        said = read_error(json.loads(data)).message
    except (ValueError, RecursionError):
        said = ""
    return f"HTTP {status}: {said[:500]}" if said else f"HTTP {status}"

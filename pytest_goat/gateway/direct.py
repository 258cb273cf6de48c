"""Any OpenAI-compatible server as the upstream. Its key stays here, on the host."""

from __future__ import annotations

import io
import ipaddress
import os
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from pytest_goat import __version__
from pytest_goat.errors import UserError
from pytest_goat.gateway import preflight
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.upstream import Answer, UpstreamBroken

_CONNECT_TIMEOUT = 10.0
"""Seconds to get a connection."""

_KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept: less than the 5 s after which uvicorn (LiteLLM, vLLM) closes it,
so that no request is sent into a connection that is about to close."""


class DirectUpstream:
    """The server at `api_url` (up to and with its `/v1`), called with `api_key` ("" for none)."""

    def __init__(self, api_url: str, api_key: str, api_key_env: str = "OPENAI_API_KEY") -> None:
        """`api_key_env`: the environment variable that messages tell the user to set.

        Raises `UserError` when `api_url` is no address.
        """
        self._base = _address(api_url)
        self._key, self.api_key_env = api_key, api_key_env
        self._proxy = proxy_for(self._base)
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return "direct"

    @property
    def secrets(self) -> Sequence[str]:
        return (self._key,)

    @property
    def address(self) -> str:
        return str(self._base)

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def quota(self, model: str) -> str:
        return f"{self.address}\n{self._key}\n{model}"

    def handover(self) -> dict[str, str]:
        return {}

    async def start(self) -> None:
        headers = {"User-Agent": f"pytest-goat/{__version__}", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        """One cheap call as an agent would make it. Raises `UserError` with what is wrong and the mend."""
        await preflight.check(self, model)

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answer]:
        async with self._call("POST", "chat/completions", request.body) as answer:
            yield answer

    @asynccontextmanager
    async def models(self) -> AsyncIterator[Answer]:
        """The server's list of models."""
        async with self._call("GET", "models", None) as answer:
            yield answer

    @asynccontextmanager
    async def _call(self, method: str, path: str, body: bytes | None) -> AsyncIterator[Answer]:
        assert self._session is not None, "start() comes first"  # noqa: S101
        url = (self._base / path).with_query(self._base.query)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        # As a file, so that a body of many MB is written in parts, and other calls get their turn.
        data = None if body is None else io.BytesIO(body)
        try:
            # A redirect would turn POST into GET, or carry the key elsewhere: it is an error to be mended.
            response = await self._session.request(
                method, url, data=data, headers=headers, proxy=self._proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamBroken(Ending.UNREACHABLE, f"{self.address}: {why_not(error)}") from error
        async with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            yield Answer(response.status, headers, _body(response))


async def _body(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for data in response.content.iter_any():
            yield data
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamBroken(Ending.CUT, f"the answer broke off: {why_not(error)}") from error


def _address(text: str) -> URL:
    mend = "Give it as --goat-api-url http://HOST:PORT/v1."
    try:
        url = URL(text.rstrip("/"))
    except ValueError as error:
        raise UserError(f"'{text}' is no address of a model server: {error}. {mend}") from None
    if url.user or url.password:
        raise UserError(f"The address of the model server at {url.host} holds a password. {mend}")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"'{text}' is no address of a model server. {mend}")
    return url


def proxy_for(url: URL) -> str | None:
    """The proxy that the environment asks for, as other clients honour it; never for this machine itself."""
    host = url.host or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if here or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)


def why_not(error: Exception) -> str:
    """A connection error of aiohttp in words."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"TLS failed: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.errno).lower() if error.errno else str(error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {_CONNECT_TIMEOUT:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "its connection was lost"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what answers there is no HTTP server: {error.message}"
    return str(error) or type(error).__name__

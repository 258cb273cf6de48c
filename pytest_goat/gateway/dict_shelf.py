"""The shelf on Modal: a `modal.Dict`, whose entries vanish a week after they were last used."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pytest_goat.cloud.names import GATEWAY_DICT
from pytest_goat.errors import Cause, GatewayError, UserError

T = TypeVar("T")

_DEADLINE = 10.0
"""Seconds for one try: the SDK itself has none."""
_PAUSES = (0.2, 1.0)
"""Seconds before the second and the third try."""


class DictShelf:
    """The Dict `name` of the Modal environment `environment` (None: the one that Modal takes by itself).

    It is made when it is not there.
    """

    def __init__(self, environment: str | None = None, name: str = GATEWAY_DICT) -> None:
        """Raises `UserError` when Modal's SDK is not installed."""
        try:
            import modal
        except ImportError:
            message = "Modal's SDK is not installed. Run: pip install 'pytest-goat[modal]'"
            raise UserError(message) from None
        self._name = name
        self._dict = modal.Dict.from_name(name, environment_name=environment, create_if_missing=True)
        self._lasting = (modal.exception.AuthError, modal.exception.InvalidError)
        self._passing = (modal.exception.Error, builtins.ConnectionError, TimeoutError)

    async def get(self, key: str) -> bytes | None:
        value = await self._try(lambda: self._dict.get.aio(key))
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes) -> None:
        await self._try(lambda: self._dict.put.aio(key, value))

    async def put_new(self, key: str, value: bytes) -> bool:
        created: bool = await self._try(lambda: self._dict.put.aio(key, value, skip_if_exists=True))
        return created

    async def _try(self, step: Callable[[], Awaitable[Any]]) -> Any:
        for pause in (*_PAUSES, None):
            try:
                async with asyncio.timeout(_DEADLINE):
                    return await step()
            except self._lasting as error:
                raise self._failed(Cause.AUTH, error) from error
            except self._passing as error:
                if pause is None:
                    raise self._failed(Cause.UNREACHABLE, error) from error
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _failed(self, cause: Cause, error: Exception) -> GatewayError:
        why = str(error) or type(error).__name__
        return GatewayError(cause, f"the Modal Dict '{self._name}' cannot be used: {why}. Run: goat doctor")

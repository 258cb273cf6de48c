"""The shelf on Modal: a `modal.Dict`, whose entries vanish a week after they were last used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pytest_goat.cloud.client import within
from pytest_goat.cloud.errors import Verdict, no_sdk, verdict
from pytest_goat.cloud.names import GATEWAY_DICT
from pytest_goat.errors import Cause, GatewayError

_DEADLINE = 10.0
"""Seconds for one try: the SDK itself has none."""
_PAUSES = (0.2, 1.0)
"""Seconds before the second and the third try."""


class DictShelf:
    """The Dict `name` of the Modal environment `environment` (None: the one that Modal takes by itself).

    It is made when it is not there.
    """

    def __init__(self, environment: str | None = None, name: str = GATEWAY_DICT) -> None:
        """Raises `UserError` when the Modal SDK is not installed."""
        try:
            import modal
        except ModuleNotFoundError as error:
            raise no_sdk() from error
        self._name = name
        self._dict = modal.Dict.from_name(name, environment_name=environment, create_if_missing=True)

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._try(lambda: self._dict.get.aio(key))
        return value

    async def put(self, key: str, value: bytes) -> None:
        await self._try(lambda: self._dict.put.aio(key, value))

    async def put_new(self, key: str, value: bytes) -> bool:
        created: bool = await self._try(lambda: self._dict.put.aio(key, value, skip_if_exists=True))
        return created

    async def _try(self, step: Callable[[], Awaitable[Any]]) -> Any:
        doing = f"using the Dict {self._name}"
        failure: Exception | None = None
        for pause in (0.0, *_PAUSES):
            await asyncio.sleep(pause)
            try:
                return await within(step(), _DEADLINE, doing)
            except Exception as error:
                found, failure = verdict(error), error
                if found is None:
                    raise
                if found not in (Verdict.LOST, Verdict.QUOTA):
                    break
        why = str(failure) or type(failure).__name__
        raise GatewayError(Cause.UNREACHABLE, f"modal: {doing}: {why}. Run: goat doctor") from failure

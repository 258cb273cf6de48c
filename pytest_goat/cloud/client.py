"""The way to Modal: found out at once whether it is there, and no call without a deadline.

The SDK alone waits 56 s for a server that is not there, and for ever for one that does not answer.
"""

from __future__ import annotations

import asyncio
import os
import tomllib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_goat.cloud.errors import TOKEN_MEND, no_sdk, user_error
from pytest_goat.errors import UserError

if TYPE_CHECKING:
    from modal import Client

T = TypeVar("T")

CONNECT_WITHIN = 10.0
"""Seconds until a server that does not answer is given up."""
_THROTTLE = "MODAL_MAX_THROTTLE_WAIT"
_THROTTLE_WAIT = "10"
"""Seconds that the SDK itself waits when it is told that a quota is used up; without a bound by default."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A Modal environment that answers."""

    environment: str
    client: Client
    """The SDK's own client of this process."""


def configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a token for Modal; whether it is any good, only `connect` finds out."""
    if environ.get("MODAL_TOKEN_ID"):
        return True
    home = environ.get("HOME")
    path = environ.get("MODAL_CONFIG_PATH") or (f"{home}/.modal.toml" if home else "")
    try:
        profiles = tomllib.loads(Path(path).read_text()) if path else {}
    except (OSError, ValueError):
        return False
    return any(isinstance(profile, dict) and "token_id" in profile for profile in profiles.values())


async def connect(environment: str, *, seconds: float = CONNECT_WITHIN) -> Connection:
    """Reach Modal with the token that the SDK finds, and the environment named so.

    Raises `UserError` within `seconds`, with the command that mends it.
    """
    try:
        import modal
    except ModuleNotFoundError as error:
        raise no_sdk() from error
    os.environ.setdefault(_THROTTLE, _THROTTLE_WAIT)
    try:
        async with asyncio.timeout(seconds):
            client = await modal.Client.from_env.aio()
            await modal.Environment.from_name(environment).hydrate.aio(client)
    except TimeoutError as error:
        raise UserError(
            f"modal: {_server()} does not answer within {seconds:g} s\n"
            "  Look at the network, its proxies and https://status.modal.com, or use --goat-backend local."
        ) from error
    except modal.exception.NotFoundError as error:
        raise UserError(
            f"modal: there is no environment {environment!r} in this workspace\n"
            f"  Run `python infra/setup.py --env {environment}`, or name another one with --goat-modal-env."
        ) from error
    except modal.exception.InvalidError as error:  # a broken or ambiguous ~/.modal.toml
        raise UserError(f"modal: {error}\n  {TOKEN_MEND}") from error
    except (modal.Error, OSError) as error:
        raise user_error(error, f"connecting to {_server()}") from error
    return Connection(environment, client)


async def within(awaitable: Awaitable[T], seconds: float, doing: str) -> T:
    """What `awaitable` gives. Raises the builtin `TimeoutError`, which says what took too long."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await awaitable
    except TimeoutError:
        if deadline.expired():
            raise TimeoutError(f"{doing} took longer than {seconds:g} s") from None
        raise


def _server() -> str:
    from modal.config import config

    return str(config["server_url"])

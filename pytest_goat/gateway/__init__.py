"""The gateway: the OpenAI-compatible endpoint that the agent calls, and what it saw of each trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_goat.errors import UserError

if TYPE_CHECKING:
    from pytest_goat.gateway.base import Gateway
    from pytest_goat.gateway.upstream import Upstream


def make_gateway(
    models: Iterable[str],
    api_url: str = "",
    api_key: str = "",
    model_timeout: float = 60.0,
    api_key_env: str = "OPENAI_API_KEY",
    known: Mapping[str, Upstream] | None = None,
) -> Gateway:
    """The gateway to `models`, the judge's among them: recordings for `replay...`, `api_url` for all others.

    `model_timeout`: seconds without a byte from the model after which a call ends. `api_key_env` is the
    environment variable that `api_key` came from, for messages. `known`: upstreams of models that
    neither of the two serves. Raises `UserError` when a model needs an address, and `api_url` is none.
    """
    # Records of the gateway are read where nothing is served, so aiohttp is loaded here.
    from pytest_goat.gateway.direct import DirectUpstream
    from pytest_goat.gateway.proxy import ProxyGateway
    from pytest_goat.gateway.replay import ReplayUpstream, is_replay

    replay: Upstream = ReplayUpstream()
    direct: Upstream | None = None
    upstreams: dict[str, Upstream] = dict(known or {})
    for model in models:
        if model in upstreams:
            continue
        if is_replay(model):
            upstreams[model] = replay
            continue
        if not api_url:
            raise UserError(
                f"Where is the model '{model}'? Give the address of an OpenAI-compatible server as "
                "--goat-api-url http://HOST:PORT/v1, or use the model 'replay'."
            )
        direct = direct or DirectUpstream(api_url, api_key, api_key_env)
        upstreams[model] = direct
    return ProxyGateway(upstreams, model_timeout)

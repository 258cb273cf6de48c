"""What the agent asks: read, checked against its trial, and made ready for the provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_goat.gateway.base import TrialKey

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one request."""

_STEERING = frozenset({
    "api_base", "api_key", "base_url", "context_window_fallbacks", "fallbacks", "mock_response",
    "model_list", "models", "route",
})  # fmt: skip
"""Keys with which LiteLLM and OpenRouter let a client choose another model or server than it asked for."""


class Refused(Exception):
    """The proxy itself says no: `status`, and `code` in OpenAI's words; `str(error)` says why."""

    def __init__(self, status: int, code: str, message: str, model_asked: str = "") -> None:
        self.status, self.code, self.model_asked = status, code, model_asked
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A chat completion that a trial may ask for."""

    key: TrialKey
    workdir: str
    """"" when it is not known."""
    content: Mapping[str, Any]
    """The request as the provider gets it."""
    body: bytes
    """`content`, as JSON."""
    model_asked: str
    """The model in the agent's words."""
    stream: bool
    wants_usage: bool
    """False: usage on the stream is asked for by the proxy alone, and hidden from the agent."""

    @property
    def turn(self) -> int:
        """1 for the first answer: one more than the answers that the agent already holds."""
        messages = self.content.get("messages")
        if not isinstance(messages, list):
            return 1
        return 1 + sum(1 for m in messages if isinstance(m, dict) and m.get("role") == "assistant")


def names_of(model: str) -> tuple[str, ...]:
    """The names under which agents are known to ask for `model`: goat-eval gives Claude its provider."""
    return (model, f"anthropic/{model}") if model.startswith("claude-") else (model,)


def read_request(raw: bytes, key: TrialKey, workdir: str = "") -> ModelRequest:
    """Check the body of a chat completion and make it ready.

    The model is given its name as the user wrote it, and a stream is asked for its usage. It is written
    anew as JSON, so that no key can stand in it twice and be read in two ways. Raises `Refused`.
    """
    content = _parse(raw)
    asked = content.get("model")
    if not isinstance(asked, str):
        raise Refused(400, "invalid_request_error", "the request names no model")
    if asked not in names_of(key.model):
        message = f"this trial may ask for the model '{key.model}' alone, not for '{asked[:200]}'"
        raise Refused(404, "model_not_found", message, asked)
    _forbid_steering(content)
    stream = content.get("stream") is True
    options = content.get("stream_options")
    options = options if isinstance(options, dict) else {}
    wants_usage = options.get("include_usage") is True
    content["model"] = key.model
    if stream:
        content["stream_options"] = {**options, "include_usage": True}
    body = json.dumps(content, separators=(",", ":")).encode()
    return ModelRequest(key, workdir, content, body, asked, stream, wants_usage)


def _parse(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BODY:
        raise Refused(413, "body_too_large", f"the request is larger than {MAX_BODY // 2**20} MiB")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "invalid_request_error", f"the request is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Refused(400, "invalid_request_error", "the request is no JSON object")
    return content


def _forbid_steering(content: Mapping[str, Any]) -> None:
    # LiteLLM lifts the keys of `extra_body` to the top.
    extra = content.get("extra_body")
    keys = {*content, *(extra if isinstance(extra, dict) else ())}
    if forbidden := sorted(keys & _STEERING):
        message = f"a trial may not choose another model or server: remove {', '.join(forbidden)}"
        raise Refused(400, "invalid_request_error", message)

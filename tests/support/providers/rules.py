"""What each provider asks of a request, and how it words a refusal.

Sources: https://learn.microsoft.com/azure/ai-foundry/openai/reference,
https://console.groq.com/docs/api-reference, https://platform.openai.com/docs/api-reference/chat/create,
https://docs.anthropic.com/en/api/messages, https://docs.vllm.ai/en/stable/serving/openai_compatible_server/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.model_server import Status

KEYS = {
    "azure": "az-canary-0123456789abcdef",
    "groq": "gsk_canary0123456789abcdef",
    "openai": "sk-proj-canary0123456789",
    "anthropic": "sk-ant-canary0123456789",
    "vllm": "vllm-canary-0123456789",
}
"""The only key that each of them takes."""

VLLM_CONTEXT = 24_576


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as its provider reads it."""

    provider: str
    model: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    json: dict[str, Any]


def _bearer(asked: Asked) -> bool:
    return asked.headers.get("authorization") == f"Bearer {KEYS[asked.provider]}"


def _azure(asked: Asked) -> Status | None:
    if asked.headers.get("api-key") != KEYS["azure"]:
        return _error(401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401")
    if not re.fullmatch(r"20\d\d-\d\d-\d\d(-preview)?", asked.query.get("api-version", "")):
        return _error(404, "Resource not found", code="404")
    return _gpt_5(asked)


def _openai(asked: Asked) -> Status | None:
    if not _bearer(asked):
        return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    return _gpt_5(asked)


def _gpt_5(asked: Asked) -> Status | None:
    if not asked.model.startswith("gpt-5"):
        return None
    if "max_tokens" in asked.json:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model."
        return _error(400, message, "invalid_request_error", "unsupported_parameter")
    if asked.json.get("temperature", 1) != 1 or "stop" in asked.json:
        return _error(400, "Unsupported value", "invalid_request_error", "unsupported_value")
    return None


def _groq(asked: Asked) -> Status | None:
    if not _bearer(asked):
        return _error(401, "Invalid API Key", "invalid_request_error", "invalid_api_key")
    return None


def _anthropic(asked: Asked) -> Status | None:
    if asked.headers.get("x-api-key") != KEYS["anthropic"]:
        return anthropic_error(401, "authentication_error", "invalid x-api-key")
    if asked.headers.get("anthropic-version") != "2023-06-01":
        return anthropic_error(400, "invalid_request_error", "anthropic-version: header is required")
    if not isinstance(asked.json.get("max_tokens"), int):
        return anthropic_error(400, "invalid_request_error", "max_tokens: Field required")
    if any(message["role"] not in ("user", "assistant") for message in asked.json["messages"]):
        return anthropic_error(400, "invalid_request_error", "messages: Unexpected role")
    if any("input_schema" not in tool for tool in asked.json.get("tools", ())):
        return anthropic_error(400, "invalid_request_error", "tools.0.input_schema: Field required")
    return None


def _vllm(asked: Asked) -> Status | None:
    if not _bearer(asked):
        return Status(401, {"error": "Unauthorized"})
    if asked.json.get("max_tokens", 0) >= VLLM_CONTEXT:
        message = (
            f"'max_tokens' or 'max_completion_tokens' is too large: {asked.json['max_tokens']}. "
            f"This model's maximum context length is {VLLM_CONTEXT} tokens."
        )
        return _error(400, message, "BadRequestError", "400")
    return None


RULES: Mapping[str, Callable[[Asked], Status | None]] = {
    "azure": _azure,
    "groq": _groq,
    "openai": _openai,
    "anthropic": _anthropic,
    "vllm": _vllm,
}
"""Provider -> its refusal of a request; None: it is served."""


def _error(status: int, message: str, kind: str = "", code: str = "") -> Status:
    return Status(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def anthropic_error(status: int, kind: str, message: str) -> Status:
    return Status(status, {"type": "error", "error": {"type": kind, "message": message}})

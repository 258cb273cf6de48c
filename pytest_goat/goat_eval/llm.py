"""Calls of the model: the request, what is retried, and what an error means.

Retried, at most 4 attempts in all: no connection, an answer that does not come, stops coming or is cut (no
tool has run by then), an answer that is none, and HTTP 408, 429, 500, 502, 503, 504 and 529. Not retried:
every other status, because the same request would fail again. Between attempts pass 1, 2 and 4 s and up to a
tenth more, or what Retry-After asks for, up to 60 s.
"""

from __future__ import annotations

import json
import os
import time

from . import answer
from .errors import ModelError
from .http1 import Http, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .answer import Answer
    from .config import Config
    from .http1 import Response
    from .record import Recorder

ATTEMPTS = 4
MAX_TOKENS = 16384
MAX_RETRY_AFTER = 60.0
WAITED_IDLE = 1.0
TIMEOUT_STATUSES = (408, 504)
RETRYABLE = (*TIMEOUT_STATUSES, 429, 500, 502, 503, 529)
KINDS = {
    "connect": "gateway_unreachable",
    "tls": "gateway_unreachable",
    "protocol": "gateway_unreachable",
    "timeout": "model_timeout",
    "dropped": "stream_cut",
}


def is_small(model: str) -> bool:
    """Models that get the short prompt and the compact tool texts."""
    name = model.lower()
    return name.startswith("groq/") or "llama" in name or "mixtral" in name


class Model:
    """The model behind an endpoint."""

    def __init__(self, config: Config, recorder: Recorder) -> None:
        self._http = Http(config.idle)
        self._base = config.base_url.rstrip("/")
        self._url = self._base + "/chat/completions"
        self._backoff = config.backoff
        self._recorder = recorder
        self._name = config.model
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "Authorization": f"Bearer {config.api_key}",
        }
        if config.run_id:
            self._headers["X-Goat-Run-Id"] = config.run_id

    def ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Answer:
        """The answer to `messages`. Raises `ModelError` when there is none for good."""
        body = json.dumps(self._request(messages, tools), separators=(",", ":")).encode()
        for attempt in range(1, ATTEMPTS + 1):
            self._recorder.request(attempt, len(messages), len(body))
            began = time.monotonic()
            try:
                whole = self._attempt(body)
            except ModelError as error:
                self._http.close()
                again = error.retryable and attempt < ATTEMPTS
                wait = self._wait(attempt, error) if again else 0.0
                self._recorder.failed(error, attempt, time.monotonic() - began, wait)
                if not again:
                    raise
                time.sleep(wait)
            else:
                self._recorder.answered(whole, time.monotonic() - began)
                return whole
        raise AssertionError("the last attempt returns or raises")

    def waited(self) -> float:
        """Seconds in which the gateway has held calls back for a rate limit; 0 where it does not tell."""
        http = Http(WAITED_IDLE)
        try:
            response = http.request("GET", self._base + "/waited", self._headers)
            return float(json.loads(response.read())["waited"]) if response.status == 200 else 0.0
        except (HttpError, ValueError, TypeError, KeyError):
            return 0.0
        finally:
            http.close()

    def close(self) -> None:
        self._http.close()

    def _request(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        name = self._name
        request: dict[str, Any] = {
            "model": f"anthropic/{name}" if name.startswith("claude-") and "/" not in name else name,
            "messages": messages,
            "tools": tools,
            "stream": True,
            "max_tokens": MAX_TOKENS,
            "stream_options": {"include_usage": True},
        }
        if is_small(name) or name.lower().endswith("-local"):
            request["temperature"] = 0.3
            request["tool_choice"] = "auto"
        return request

    def _attempt(self, body: bytes) -> Answer:
        try:
            response = self._http.request("POST", self._url, self._headers, body)
            self._recorder.last_http_status = response.status
            if response.status != 200:
                raise _status_error(response)
            return answer.read(response.lines(), response.framed)
        except HttpError as error:
            retryable = error.kind not in ("tls", "protocol")
            raise ModelError(KINDS[error.kind], str(error), retryable=retryable) from error

    def _wait(self, attempt: int, error: ModelError) -> float:
        jitter = 1 + os.urandom(1)[0] / 2550
        backoff = self._backoff * 2 ** (attempt - 1) * jitter
        return float(max(backoff, min(error.retry_after, MAX_RETRY_AFTER)))


def _status_error(response: Response) -> ModelError:
    status = response.status
    body = response.read()
    message, code = _message(body)
    text = f"HTTP {status}: {message}"
    if status in (400, 413) and answer.is_overflow(message, code):
        return ModelError("context_overflow", text, status=status)
    retry_after = _seconds(response.headers.get("retry-after", ""))
    return ModelError(
        _kind(status), text, status=status, retryable=status in RETRYABLE, retry_after=retry_after
    )


def _kind(status: int) -> str:
    if status in TIMEOUT_STATUSES:
        return "model_timeout"
    if status >= 500:
        return "provider_error"
    return {401: "auth", 403: "auth", 404: "model_not_found", 429: "rate_limited"}.get(status, "bad_request")


def _message(body: bytes) -> tuple[str, str]:
    """The message and code of an error body: of OpenAI's error object, or else its text."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"])[:1000], str(error.get("code") or "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return body[:1000].decode("utf-8", "replace").strip() or "(no message)", ""


def _seconds(retry_after: str) -> float:
    """What a Retry-After header asks for: seconds or an HTTP date (RFC 9110, 10.2.3); 0 for nothing."""
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    if not retry_after:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0

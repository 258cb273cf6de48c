"""Keeps a vLLM server to those who have its key; vLLM loads this file by `--middleware`, without the package.

vLLM's own `--api-key` guards the paths below /v1 alone: `/invocations`, which answers chats too, and others
stay open (vllm-project/vllm#58144). Here everything is refused that agents do not need.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY_VARIABLE = "VLLM_API_KEY"

OPEN = {("GET", "/health")}
"""Says only whether the model is loaded: asked while it wakes up."""

NEEDS_KEY = {("POST", "/v1/chat/completions"), ("GET", "/v1/models")}


class RequireKey:
    """ASGI middleware: lets through what is open, and what needs the key when it comes with it.

    Raises `RuntimeError` when the environment has no key: the server must not start open to the world.
    """

    def __init__(self, app: Application) -> None:
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise RuntimeError(f"{KEY_VARIABLE} is not set: run python infra/setup.py")
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, words = refusal
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": words.encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and words of the answer to a request that is not let through."""
        if scope["type"] == "lifespan":
            return None
        route = (scope["method"], scope["path"])
        if route not in OPEN | NEEDS_KEY:
            return 404, "not served here"
        if route in OPEN:
            return None
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._expected):
            return 401, "wrong key, or none"
        return None

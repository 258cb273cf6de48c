from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from pytest_goat.deploy.vllm_guard import KEY_VARIABLE, RequireKey

KEY = "sk-vllm-0123456789"
RIGHT = f"Bearer {KEY}"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


async def vllm(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def nothing() -> MutableMapping[str, Any]:
    return {}


def answers(scope: dict[str, Any]) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(RequireKey(vllm)(scope, nothing, send))
    return sent


def status(method: str, path: str, authorization: str | None = None) -> int:
    headers = [(b"authorization", authorization.encode())] if authorization is not None else []
    sent = answers({"type": "http", "method": method, "path": path, "headers": headers})
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("method", "path", "authorization", "expected"),
    [
        ("GET", "/health", None, 200),
        ("GET", "/v1/models", RIGHT, 200),
        ("POST", "/v1/chat/completions", RIGHT, 200),
        ("POST", "/v1/chat/completions", None, 401),
        ("POST", "/v1/chat/completions", "", 401),
        ("POST", "/v1/chat/completions", f"Bearer {KEY}x", 401),
        ("POST", "/v1/chat/completions", KEY, 401),
        ("GET", "/v1/models", "Bearer ", 401),
        ("POST", "/invocations", None, 404),
        ("POST", "/invocations", RIGHT, 404),
        ("POST", "/tokenize", RIGHT, 404),
        ("POST", "//v1/chat/completions", None, 404),
        ("POST", "/health", None, 404),
        ("GET", "/docs", None, 404),
    ],
)
def test_only_what_agents_need_and_only_with_the_key(
    method: str, path: str, authorization: str | None, expected: int
) -> None:
    assert status(method, path, authorization) == expected


def test_a_websocket_is_refused() -> None:
    sent = answers({"type": "websocket", "path": "/v1/realtime", "headers": []})
    assert sent == [{"type": "websocket.close"}]


def test_startup_is_let_through() -> None:
    assert answers({"type": "lifespan"})[0]["status"] == 200


def test_without_a_key_the_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(RuntimeError, match=r"VLLM_API_KEY is not set: run python infra/setup\.py"):
        RequireKey(vllm)

"""The server, its script, and what it counts."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.support.loopback import LoopbackHandler, LoopbackServer
from tests.support.model_server import Answer, Drop, Hang, Status, ToolCall
from tests.support.providers.forms import Tokens, events, whole
from tests.support.providers.rules import KEYS, RULES, Asked, anthropic_error

Reply = Answer | Status | Drop | Hang
Script = Sequence[Reply] | Callable[[Asked], Reply]

_PATHS = {
    "azure": r"/azure/openai/deployments/(?P<model>[^/]+)/chat/completions",
    "groq": r"/groq/openai/v1/chat/completions",
    "openai": r"/openai/v1/chat/completions",
    "anthropic": r"/anthropic/v1/messages",
    "vllm": r"/vllm/v1/chat/completions",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in, and what it is charged for."""

    asked: Asked
    path: str
    reply: Reply
    """As the script has it."""
    tokens: Tokens | None
    """None: it got an error, or an answer that does not tell."""

    @property
    def provider(self) -> str:
        return self.asked.provider

    @property
    def json(self) -> dict[str, Any]:
        return self.asked.json


class Providers:
    """Serves a script until the `with` block ends: replies in the order of the calls, or a function.

    An `Answer` is given in the provider's own form, with `delay` before each of its chunks. Every call is
    charged other tokens (`Call.tokens`); of its `usage` only `None` is read, which keeps them back. A
    `Status` without a body gets the provider's own.
    """

    def __init__(self, script: Script = ()) -> None:
        self.calls: list[Call] = []
        """Every request that broke no rule, in the order of arrival."""
        self.refused: list[tuple[str, str]] = []
        """Path and refusal of every request that broke one."""
        self.gets: list[str] = []
        """Paths of all that was asked otherwise than by POST, since the beginning."""
        self._script: Script = script
        self._next = 0
        self._lock = threading.Lock()
        self.ended = threading.Event()
        """Nothing hangs any more."""
        self._http = _Server(self)

    @property
    def environ(self) -> dict[str, str]:
        """What leads every row of the table of models here."""
        base = f"http://127.0.0.1:{self._http.port}"
        vllm = ("LLAMA_3_1_8B", "QWEN3_4B", "QWEN3_30B_A3B", "GPT_OSS_20B", "GPT_OSS_120B")
        return {
            **{f"{provider.upper()}_API_KEY": key for provider, key in KEYS.items()},
            "AZURE_API_BASE": f"{base}/azure",
            "GROQ_API_BASE": f"{base}/groq/openai/v1",
            "OPENAI_BASE_URL": f"{base}/openai/v1",
            "ANTHROPIC_BASE_URL": f"{base}/anthropic",
            **{f"VLLM_{name}_URL": f"{base}/vllm/v1" for name in vllm},
        }

    def reset(self, script: Script) -> None:
        """Forget what was asked, and go on with another script."""
        with self._lock:
            self._script, self._next = script, 0
            self.calls, self.refused = [], []

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._http.stop()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[Asked | None, Reply, Tokens]:
        """Judge a request, note it, and take the reply off the script."""
        asked = _read(path, headers, body)
        refusal = Status(404) if asked is None else RULES[asked.provider](asked)
        with self._lock:
            number = len(self.calls) + 1
            tokens = Tokens(1000 + 7 * number, 100 + number, 20 + 3 * number, 3)
            if asked is None or refusal is not None:
                self.refused.append((path, json.dumps(refusal.body if refusal else None)))
                return asked, refusal or Status(404), tokens
            if asked.provider in ("anthropic", "vllm"):  # which tell of no reasoning
                tokens = replace(tokens, reasoning=0)
            reply = self._reply(asked)
            self.calls.append(Call(asked, path, reply, tokens if _tells(reply) else None))
        if isinstance(reply, Answer):
            calls = [replace(call, id=call.id or f"call_{number}_{i}") for i, call in enumerate(reply.tools)]
            reply = replace(reply, tools=tuple[ToolCall, ...](calls))
        return asked, reply, tokens

    def _reply(self, asked: Asked) -> Reply:
        if callable(self._script):
            return self._script(asked)
        self._next += 1
        if self._next > len(self._script):
            return Status(400, "the script of the providers has ended")
        return self._script[self._next - 1]


class _Server(LoopbackServer):
    def __init__(self, providers: Providers) -> None:
        super().__init__(_Handler)
        self.providers = providers


class _Handler(LoopbackHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.providers.gets.append(self.path)
        self.send_json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        headers, body = self.read_body()
        asked, reply, tokens = self.server.providers.take(self.path, headers, body)
        if isinstance(reply, Drop | Hang):
            if isinstance(reply, Hang):
                self.server.providers.ended.wait()
            self.close_connection = True
        elif isinstance(reply, Status):
            self._send_error(asked, reply)
        elif asked is not None and asked.json.get("stream"):
            self._stream(asked, reply, tokens)
        elif asked is not None:
            self.send_json(200, whole(asked, reply, tokens))

    def _send_error(self, asked: Asked | None, reply: Status) -> None:
        body = reply.body
        if not isinstance(body, dict):
            message = body or f"scripted status {reply.code}"
            body = {"error": {"message": message, "type": "scripted", "code": str(reply.code)}}
            if asked is not None and asked.provider == "anthropic":
                body = anthropic_error(reply.code, "api_error", str(message)).body
        self.send_json(reply.code, body, reply.headers)

    def _stream(self, asked: Asked, answer: Answer, tokens: Tokens) -> None:
        self.begin_stream()
        for sent, data in enumerate(events(asked, answer, tokens)):
            time.sleep(answer.delay)
            if sent in (answer.cut_after, answer.hang_after):
                if sent == answer.hang_after:
                    self.server.providers.ended.wait()
                self.close_connection = True
                return
            self.send_chunk(data)
        self.end_stream()


def _tells(reply: Reply) -> bool:
    """Whether the caller hears what the call is charged for."""
    if not isinstance(reply, Answer) or reply.usage is None:
        return False
    return reply.cut_after is None and reply.hang_after is None


def _read(path: str, headers: dict[str, str], body: bytes) -> Asked | None:
    """The request in its provider's words; None when no provider has such a path, or the body is no JSON."""
    parts = urlsplit(path)
    try:
        content = json.loads(body)
    except ValueError:
        return None
    for provider, pattern in _PATHS.items():
        if found := re.fullmatch(pattern, parts.path):
            model = found.groupdict().get("model") or str(content.get("model"))
            return Asked(provider, model, dict(parse_qsl(parts.query)), headers, content)
    return None

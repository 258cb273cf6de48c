"""Plays `vllm serve` at the wire: as a program, it answers 503 at first, as while weights are loaded.

It takes the options that `infra/vllm.py` gives it and puts the ASGI middleware that they name in front of
itself, as vLLM does. `POST /v1/chat/completions` answers with its arguments and the names in its environment.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from aiohttp import web

REFUSALS = 2
"""Times that `/health` says that it is not ready."""


class Server:
    """The model's own ASGI application."""

    def __init__(self) -> None:
        self._asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, content = self._answer(scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path != "/health":
            return 200, {"arguments": sys.argv[1:], "environ": sorted(os.environ)}
        self._asked += 1
        return (200 if self._asked > REFUSALS else 503), {}


def serve(application: Any, port: int) -> None:
    """Serve an ASGI application, as far as this one goes."""

    async def handle(request: web.BaseRequest) -> web.Response:
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
        }

        async def send(message: Any) -> None:
            sent.append(message)

        await application(scope, None, send)
        return web.Response(status=sent[0]["status"], body=sent[1]["body"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def main(arguments: Sequence[str]) -> None:
    """Refuses to start where the real one would import another module in its own place."""
    if found := importlib.util.find_spec("vllm"):
        sys.exit(f"`import vllm` would load {found.origin}")
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("weights")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--middleware", required=True)
    options, _ = parser.parse_known_args(arguments)
    module, _, name = options.middleware.rpartition(".")
    serve(getattr(importlib.import_module(module), name)(Server()), options.port)

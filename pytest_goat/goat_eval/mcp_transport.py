"""Ways to talk to an MCP server: over stdin and stdout, over streamable HTTP, over the older HTTP with SSE.

Each sends JSON-RPC messages with `send` and gives the next one that comes with `receive`. The wire is that of
https://modelcontextprotocol.io/specification, revisions 2024-11-05 (stdio, SSE) and 2025-03-26 (HTTP).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time

from .errors import ToolError
from .http1 import Http, HttpError, Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .http1 import Response
    from .processes import Processes

    Message = dict[str, Any]

_LAST_WORDS = 300
"""Characters of a dead server's stderr that are quoted."""


class McpError(Exception):
    """A server cannot be reached, does not answer, or answers with an error."""


class Stdio:
    """A server that we start: one message a line."""

    def __init__(self, spec: Message, processes: Processes) -> None:
        argv = [str(spec["command"]), *(str(word) for word in spec.get("args") or ())]
        env = {str(name): str(value) for name, value in (spec.get("env") or {}).items()}
        try:
            self._log = processes.file(f"mcp-{os.urandom(4).hex()}.err")
            with open(self._log, "wb") as log:
                self._process = processes.start(
                    argv, os.getcwd(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env
                )
        except (ToolError, OSError) as error:
            raise McpError(str(error)) from error
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._rest = b""

    def send(self, message: Message, seconds: float) -> None:
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise McpError(self._ended()) from error

    def receive(self, seconds: float) -> Message:
        until = time.monotonic() + seconds
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                if (message := _message(line)) is not None:
                    return message
            else:
                self._fill(until - time.monotonic())

    def close(self) -> None:
        """Close its stdin, which asks it to end; the pipes' other end is killed with all the rest."""
        for pipe in (self._stdin, self._stdout):
            try:
                pipe.close()
            except OSError:
                continue

    def _fill(self, seconds: float) -> None:
        if not select.select([self._stdout], [], [], max(seconds, 0))[0]:
            raise McpError("it does not answer")
        block = os.read(self._stdout.fileno(), 65536)
        if not block:
            raise McpError(self._ended())
        self._rest += block

    def _ended(self) -> str:
        with open(self._log, "rb") as file:
            words = file.read().decode("utf-8", "replace").strip()[-_LAST_WORDS:]
        return f"it has ended: {words}" if words else "it has ended"


class StreamableHttp:
    """A server at a URL: each message is a POST, answered with one message or with a stream of them."""

    def __init__(self, spec: Message) -> None:
        self._url = str(spec["url"])
        self._headers = _headers(spec)
        self._http = Http(idle=0)
        self._messages: Iterator[Message] = iter(())

    def send(self, message: Message, seconds: float) -> None:
        if "method" not in message or "id" not in message:
            _post(self._url, self._headers, message, seconds)
            return
        self._http.idle = seconds
        try:
            response = self._http.request("POST", self._url, self._headers, json.dumps(message).encode())
            _check(response)
            session = response.headers.get("mcp-session-id")
            if session:
                self._headers["Mcp-Session-Id"] = session
            self._messages = _messages(response)
        except HttpError as error:
            raise McpError(str(error)) from error

    def receive(self, seconds: float) -> Message:
        return _next(self._messages)

    def close(self) -> None:
        self._http.close()


class Sse:
    """A server at a URL: messages are posted to the endpoint that its event stream names, and come in it."""

    def __init__(self, spec: Message, seconds: float) -> None:
        url = str(spec["url"])
        self._headers = _headers(spec)
        self._http = Http(idle=seconds)
        try:
            response = self._http.request("GET", url, {**self._headers, "Accept": "text/event-stream"})
            _check(response)
            events = _events(response)
            endpoint = next((data for kind, data in events if kind == "endpoint"), None)
            if endpoint is None:
                raise McpError("its event stream names no endpoint")
            self._endpoint = Url(url).join(endpoint)
        except HttpError as error:
            raise McpError(str(error)) from error
        self._messages = (message for _, data in events if (message := _message(data.encode())) is not None)

    def send(self, message: Message, seconds: float) -> None:
        _post(self._endpoint, self._headers, message, seconds)

    def receive(self, seconds: float) -> Message:
        return _next(self._messages)

    def close(self) -> None:
        self._http.close()


def _headers(spec: Message) -> dict[str, str]:
    given = {str(name): str(value) for name, value in (spec.get("headers") or {}).items()}
    return {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **given}


def _post(url: str, headers: dict[str, str], message: Message, seconds: float) -> None:
    """Send a message whose answer, if there is one, comes another way."""
    http = Http(idle=seconds)
    try:
        response = http.request("POST", url, headers, json.dumps(message).encode())
        _check(response)
    except HttpError as error:
        raise McpError(str(error)) from error
    finally:
        http.close()


def _check(response: Response) -> None:
    if not 200 <= response.status < 300:
        text = response.read()[:_LAST_WORDS].decode("utf-8", "replace").strip()
        raise McpError(f"HTTP {response.status}: {text}")


def _messages(response: Response) -> Iterator[Message]:
    if "event-stream" in response.headers.get("content-type", ""):
        bodies: Iterator[bytes] = (data.encode() for _, data in _events(response))
    else:
        bodies = iter([response.read()])
    for body in bodies:
        if (message := _message(body)) is not None:
            yield message


def _events(response: Response) -> Iterator[tuple[str, str]]:
    """The events of a stream: their kind and data."""
    kind, data = "message", []
    for raw in response.lines():
        line = raw.decode("utf-8", "replace")
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield kind, "\n".join(data)
            kind, data = "message", []


def _next(messages: Iterator[Message]) -> Message:
    try:
        message = next(messages, None)
    except HttpError as error:
        raise McpError(str(error)) from error
    if message is None:
        raise McpError("it ended its answer without one")
    return message


def _message(text: bytes) -> Message | None:
    """A JSON-RPC message; None for what is none, such as log lines on stdout."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

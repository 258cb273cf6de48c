"""An MCP server to talk to, over stdin and stdout, or over HTTP inside the test process.

`python mcp_server.py [MODE]` speaks stdio. MODE: normal (the default), `silent` reads and never answers,
`dies` writes to stderr and ends, `refuses` answers every request with an error.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Message = dict[str, Any]

TOOLS = [
    {
        "name": "add",
        "description": "Adds two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
    {"name": "env.names", "description": "Names of the environment.", "inputSchema": {"type": "object"}},
    {"name": "fail"},
    {"name": "picture"},
]
PONG = {"jsonrpc": "2.0", "id": "s-1", "result": {}}
RESOURCES = [{"name": "notes", "uri": "mem://notes", "description": "Some notes", "mimeType": "text/plain"}]


def answers(message: Message) -> Iterator[Message]:
    """What the server sends upon `message`: a request of its own and a notification before each answer."""
    if "id" not in message or "method" not in message:
        return
    if message["method"] == "tools/call":
        yield {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        yield {"jsonrpc": "2.0", "id": "s-1", "method": "ping"}
    reply: Message = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        reply["result"] = result(message["method"], message.get("params") or {})
    except KeyError as error:
        reply["error"] = {"code": -32602, "message": f"unknown: {error}"}
    yield reply


def result(method: str, params: Message) -> Message:
    if method == "initialize":
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}, "resources": {}}, "serverInfo": {}}
    if method == "tools/list":
        # Two pages.
        half = len(TOOLS) // 2
        return {"tools": TOOLS[half:]} if params.get("cursor") else {"tools": TOOLS[:half], "nextCursor": "2"}
    if method == "resources/list":
        return {"resources": RESOURCES}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": {"mem://notes": "the notes"}[params["uri"]]}]}
    return call(params["name"], params["arguments"])


def call(name: str, arguments: Message) -> Message:
    if name == "add":
        return {"content": [{"type": "text", "text": str(arguments["a"] + arguments["b"])}]}
    if name == "env.names":
        return {"content": [{"type": "text", "text": name} for name in sorted(os.environ)]}
    if name == "fail":
        return {"content": [{"type": "text", "text": "it went wrong"}], "isError": True}
    return {
        "content": [
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource", "resource": {"uri": "mem://x", "text": "embedded"}},
        ]
    }


class HttpMcpServer(ThreadingHTTPServer):
    """Streamable HTTP at `/mcp` (answers as an event stream to tools/call, else as JSON), SSE at `/sse`."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers_seen: list[dict[str, str]] = []
        self.outbox: queue.Queue[Message | None] = queue.Queue()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.outbox.put(None)
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: HttpMcpServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to log."""

    def do_GET(self) -> None:
        self.server.headers_seen.append(dict(self.headers.items()))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"event: endpoint\ndata: /post?session=1\n\n: comment\n\n")
        while (message := self.server.outbox.get()) is not None:
            self.wfile.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")

    def do_POST(self) -> None:
        self.server.headers_seen.append(dict(self.headers.items()))
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        replies = list(answers(message))
        if self.path.startswith("/post"):
            for reply in replies:
                self.server.outbox.put(reply)
            self._send(202, "text/plain", b"")
        elif not replies:
            self._send(202, "text/plain", b"")
        elif len(replies) == 1:
            self._send(200, "application/json", json.dumps(replies[0]).encode())
        else:
            events = b"".join(b"data: " + json.dumps(reply).encode() + b"\n\n" for reply in replies)
            self._send(200, "text/event-stream", events)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Mcp-Session-Id", "session-1")
        self.end_headers()
        self.wfile.write(body)


def main(mode: str) -> None:
    say("a line of log that is no JSON")
    if mode == "dies":
        sys.exit("no database")
    for line in sys.stdin:
        message = json.loads(line)
        if mode == "refuses":
            error = {"code": 1, "message": "not today"}
            say(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}))
        elif mode == "normal":
            for reply in answers(message):
                say(json.dumps(reply))
                if reply.get("method") == "ping" and json.loads(next(sys.stdin)) != PONG:
                    sys.exit("the ping was not answered")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "normal")

"""What the HTTP servers of the tests share: they listen on loopback, and leave no thread and no socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """Serves from `start` to `stop`, each connection in a thread of its own."""

    daemon_threads = False  # server_close joins them, so that no thread or socket outlives the test
    request_queue_size = 256

    def __init__(self, handler: type[LoopbackHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.connections = 0
        """How many were accepted."""
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name=type(self).__qualname__)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, and wait for all handlers: none of them may wait for anything else."""
        self.shutdown()
        self._thread.join()
        self._close_connections()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
            self.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what is tested, not an error."""

    def _close_connections(self) -> None:
        """Wake handlers that wait for a next request on a kept-alive connection."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers one request after another on a connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at what the servers keep, not at a log."""

    def read_body(self) -> tuple[dict[str, str], bytes]:
        """The request's headers, names in lower case, and its body."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return {name.lower(): value for name, value in self.headers.items()}, body

    def send_json(self, code: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_body(code, data, {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        """Chunks follow, until `end_stream` or the connection's end."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

"""Langfuse at the wire: takes OTLP and scores, checks who sends them, keeps what came."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PUBLIC, SECRET = "pk-lf-recorder", "sk-lf-canary-of-the-recorder"
BASIC = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()


class Recorder:
    """What came, and how the next requests are answered."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.env = {"LANGFUSE_HOST": host, "LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET}
        self.spans: list[Span] = []
        self.scores: list[dict[str, Any]] = []
        self.posts: list[str] = []
        self.gets: list[str] = []
        self.status = 200
        self.shown_after = 0
        """So often a trace is asked for in vain until it is shown; both ways to ask count."""
        self.routes: tuple[str, ...] = ("/api/public/traces/", "/api/public/v2/observations")
        """The ways to ask for it that this Langfuse has."""
        self.stuck = threading.Event()
        self.stuck.set()

    def answer(self, path: str) -> tuple[int, Any]:
        """Status and body for a GET."""
        self.gets.append(path)
        if path == "/api/public/projects":
            return 200, {"data": [{"id": "recorded"}]}
        if not path.startswith(self.routes):
            return 404, {"error": "LangfuseNotFoundError"}
        shown = len(self.gets) > self.shown_after
        if path.startswith("/api/public/traces/"):
            found = shown and path.rpartition("/")[2] in {span.trace_id.hex() for span in self.spans}
            return (
                (200, {"id": path.rpartition("/")[2]}) if found else (404, {"error": "LangfuseNotFoundError"})
            )
        asked = parse_qs(urlsplit(path).query)["traceId"]
        return 200, {"data": [{"name": s.name} for s in self.spans if shown and s.trace_id.hex() in asked]}

    def by_name(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in span.attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def recorder() -> Iterator[Recorder]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.stuck.wait(30)
            told.posts.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            status = told.status if self.headers["Authorization"] == BASIC else 401
            if status == 200:
                self._keep(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            status, value = (401, {}) if self.headers["Authorization"] != BASIC else told.answer(self.path)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _keep(self, body: bytes) -> None:
            if self.path == "/api/public/scores":
                told.scores.append(json.loads(body))
                return
            assert self.path == "/api/public/otel/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    told.spans.extend(scope.spans)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told = Recorder(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield told
        finally:
            told.stuck.set()
            server.shutdown()
            thread.join()

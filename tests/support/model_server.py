"""A scripted OpenAI-compatible server on loopback: what the model says, and how its provider fails.

    with ModelServer([Answer(tools=[ToolCall("Bash", {"command": "ls"})]), Answer("done")]) as server:
        run_agent(base_url=server.url)
    assert server.requests[1].json["messages"][-1]["role"] == "tool"

The script is a list of replies, served in the order in which requests arrive, or a function of the request's
JSON and headers that returns a reply. `GET /v1/models` is always answered and takes nothing off the script.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, cast

from tests.support.loopback import LoopbackHandler, LoopbackServer

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call in an answer."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    """Text goes out as it is, valid JSON or not."""
    id: str = ""
    """"" makes one that is unique in the server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A chat completion: streamed when the request asks for it, else one JSON object."""

    text: str = ""
    tools: Sequence[ToolCall] = ()
    finish: str | None = ""
    """finish_reason; "" is "tool_calls" or "stop", None leaves it out."""
    reasoning: str = ""
    refusal: str = ""
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    """None: none is sent. In a stream it is sent only when `stream_options.include_usage` is set."""
    model: str = ""
    """"" is the requested one."""
    streamed: bool | None = None
    """True or False overrides what the request asks for."""
    pieces: int = 1
    """Into how many chunks the text is cut."""
    delay: float = 0.0
    """Seconds before each chunk, or before the JSON object."""
    noise: Sequence[str] = ()
    """Lines sent as they are after the first chunk: comments, broken JSON."""
    prefix: str = "data: "
    """What stands before the JSON in each line of the stream."""
    done: bool = True
    """The stream ends with `data: [DONE]`."""
    cut_after: int | None = None
    """Chunks after which the connection is closed in the middle of the stream."""
    hang_after: int | None = None
    """Chunks after which nothing more comes, until the server is closed."""


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status; `body` is JSON, text, or None for an error object as OpenAI words it."""

    code: int
    body: Mapping[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it is."""

    body: bytes
    content_type: str = "text/event-stream"
    status: int = 200


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer at all, until the server is closed."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without an answer."""


Reply = Answer | Status | Raw | Hang | Drop
Script = Sequence[Reply] | Callable[[dict[str, Any], Mapping[str, str]], Reply]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    json: dict[str, Any]
    """{} when the body is no JSON object."""


class ModelServer:
    """Serves a script until the `with` block ends; then it closes every connection, hanging ones too.

    `api_key`: when given, any other key is answered 401. `models`: what `GET /v1/models` lists. `keep_alive`:
    False closes the connection after every answer, without having said so. `tls`: a server context; the host
    is then `localhost`.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        api_key: str | None = None,
        models: Sequence[str] = ("test-model",),
        keep_alive: bool = True,
        tls: ssl.SSLContext | None = None,
    ):
        self.requests: list[Request] = []
        """Every POST, in order of arrival."""
        self.api_key = api_key
        self.models = tuple(models)
        self.keep_alive = keep_alive
        self.closing = threading.Event()
        self._script = script
        self._next = 0
        self._calls = 0
        self._arrived = threading.Condition()
        self._http = _Server(self)
        self._tls = tls is not None
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)

    @property
    def url(self) -> str:
        """What goes into OPENAI_BASE_URL."""
        return f"https://localhost:{self.port}/v1" if self._tls else f"http://127.0.0.1:{self.port}/v1"

    @property
    def port(self) -> int:
        return self._http.port

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._http.connections

    @property
    def left(self) -> int:
        """Replies of a scripted list that nobody has asked for."""
        return 0 if callable(self._script) else len(self._script) - self._next

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.stop()

    def stop_listening(self) -> None:
        """Refuse connections from now on; for a script to call: its own answer still goes out."""
        self._http.shutdown()
        self._http.socket.close()

    def wait_for(self, count: int, timeout: float = 10.0) -> None:
        """Block until `count` requests have arrived. Raises `TimeoutError` after `timeout` seconds."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived in {timeout} s")

    def record(self, request: Request) -> Reply:
        """Note `request` and take the reply to it off the script."""
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
                return Status(401)
            if callable(self._script):
                script = self._script
            elif self._next < len(self._script):
                self._next += 1
                return self._script[self._next - 1]
            else:
                return Status(400, f"the script of the model server ended after {self._next} replies")
        return script(request.json, request.headers)

    def call_id(self) -> str:
        with self._arrived:
            self._calls += 1
            return f"call_{self._calls}"


class _Server(LoopbackServer):
    def __init__(self, model: ModelServer) -> None:
        super().__init__(_Handler)
        self.model = model


class _Handler(LoopbackHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            data = [{"id": name, "object": "model", "owned_by": "test"} for name in self.server.model.models]
            self.send_json(200, {"object": "list", "data": data})
        else:
            self._send_status(Status(404))

    def do_POST(self) -> None:
        headers, body = self.read_body()
        reply = self.server.model.record(Request("POST", self.path, headers, body, _object(body)))
        self._send(reply, _object(body))
        self.close_connection = self.close_connection or not self.server.model.keep_alive

    def _send(self, reply: Reply, request: dict[str, Any]) -> None:
        if isinstance(reply, Status):
            self._send_status(reply)
        elif isinstance(reply, Raw):
            self.send_body(reply.status, reply.body, {"Content-Type": reply.content_type})
        elif isinstance(reply, Answer):
            reply = _with_ids(reply, self.server.model)
            streamed = request.get("stream", False) if reply.streamed is None else reply.streamed
            (self._stream if streamed else self._complete)(reply, request)
        else:
            if isinstance(reply, Hang):
                self.server.model.closing.wait()
            self.close_connection = True

    def _send_status(self, reply: Status) -> None:
        if isinstance(reply.body, Mapping):
            body: Mapping[str, Any] = reply.body
        else:
            message = reply.body or f"scripted status {reply.code}"
            body = {"error": {"message": message, "type": "scripted", "code": str(reply.code)}}
        self.send_json(reply.code, body, reply.headers)

    def _complete(self, answer: Answer, request: dict[str, Any]) -> None:
        self.server.model.closing.wait(answer.delay)
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if answer.refusal:
            message["refusal"] = answer.refusal
        if answer.tools:
            message["tool_calls"] = [_call(call) for call in answer.tools]
        choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
        body = {**_head(answer, request, "chat.completion"), "choices": [choice]}
        if answer.usage is not None:
            body["usage"] = answer.usage
        self.send_json(200, body)

    def _stream(self, answer: Answer, request: dict[str, Any]) -> None:
        self.begin_stream()
        for sent, chunk in enumerate(_chunks(answer, request)):
            if sent == answer.hang_after:
                self.server.model.closing.wait()
            if sent in (answer.cut_after, answer.hang_after):
                self.close_connection = True
                return
            self.server.model.closing.wait(answer.delay)
            self._send_event(answer.prefix + json.dumps(chunk))
            if sent == 0:
                for line in answer.noise:
                    self._send_event(line)
        if answer.done:
            self._send_event("data: [DONE]")
        self.end_stream()

    def _send_event(self, line: str) -> None:
        self.send_chunk(f"{line}\n\n".encode())


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _with_ids(answer: Answer, model: ModelServer) -> Answer:
    calls = tuple(ToolCall(call.name, call.arguments, call.id or model.call_id()) for call in answer.tools)
    return replace(answer, tools=calls)


def _finish(answer: Answer) -> str | None:
    if answer.finish == "":
        return "tool_calls" if answer.tools else "stop"
    return answer.finish


def _head(answer: Answer, request: dict[str, Any], kind: str) -> dict[str, Any]:
    model = answer.model or str(request.get("model", ""))
    return {"id": "chatcmpl-test", "object": kind, "created": 0, "model": model}


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _chunks(answer: Answer, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream, as OpenAI cuts it: role, text, tool calls (name first, arguments after), finish, usage."""
    head = _head(answer, request, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    if answer.reasoning:
        yield chunk({"reasoning_content": answer.reasoning})
    if answer.refusal:
        yield chunk({"refusal": answer.refusal})
    step = max(1, -(-len(answer.text) // answer.pieces))
    for start in range(0, len(answer.text), step):
        yield chunk({"content": answer.text[start : start + step]})
    for index, call in enumerate(answer.tools):
        whole = _call(call)
        arguments = whole["function"]["arguments"]
        middle = len(arguments) // 2
        opening = {**whole, "index": index, "function": {"name": call.name, "arguments": ""}}
        yield chunk({"tool_calls": [opening]})
        for part in (arguments[:middle], arguments[middle:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    finish = _finish(answer)
    if finish is not None:
        yield chunk({}, finish)
    options = request.get("stream_options") or {}
    if answer.usage is not None and options.get("include_usage"):
        yield {**head, "choices": [], "usage": answer.usage}

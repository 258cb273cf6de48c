"""MCP: the servers of -mcp-config, and their tools and resources as tools of ours."""

from __future__ import annotations

import json
import re
import time

from . import NAME, VERSION
from .console import say
from .errors import ConfigError, ToolError
from .mcp_transport import McpError, Sse, Stdio, StreamableHttp
from .text import shorten
from .tools.base import Tool, optional_text, required_text, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    from .tools import Toolbox
    from .tools.base import Arguments, Run

    Message = dict[str, Any]
    Transport = Union[Stdio, StreamableHttp, Sse]

PROTOCOL = "2024-11-05"
CONNECT_TIMEOUT = 30.0
CALL_TIMEOUT = 300.0
SHOWN = 100_000
"""Bytes of a result that the model gets."""
MAX_PAGES = 100


class Server:
    """A connected MCP server. All methods raise `McpError`."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self._transport = transport
        self._last_id = 0
        params = {
            "protocolVersion": PROTOCOL,
            "capabilities": {},
            "clientInfo": {"name": NAME, "version": VERSION},
        }
        offer = self._request("initialize", params, CONNECT_TIMEOUT)
        self._abilities = offer.get("capabilities") or {}
        transport.send({"jsonrpc": "2.0", "method": "notifications/initialized"}, CONNECT_TIMEOUT)

    def tools(self) -> list[Message]:
        return self._listed("tools")

    def resources(self) -> list[Message]:
        return self._listed("resources")

    def call(self, tool: str, arguments: Arguments) -> Message:
        return self._request("tools/call", {"name": tool, "arguments": arguments}, CALL_TIMEOUT)

    def read(self, uri: str) -> list[Message]:
        return list(self._request("resources/read", {"uri": uri}, CALL_TIMEOUT).get("contents") or ())

    def close(self) -> None:
        self._transport.close()

    def _listed(self, kind: str) -> list[Message]:
        """All pages of a list; nothing when the server does not offer it."""
        items: list[Message] = []
        params: Message = {}
        for _ in range(MAX_PAGES if kind in self._abilities else 0):
            page = self._request(f"{kind}/list", params, CONNECT_TIMEOUT)
            items += page.get(kind) or ()
            if not page.get("nextCursor"):
                break
            params = {"cursor": page["nextCursor"]}
        return items

    def _request(self, method: str, params: Message, seconds: float) -> Message:
        until = time.monotonic() + seconds
        self._last_id += 1
        self._transport.send(
            {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}, seconds
        )
        while True:
            message = self._transport.receive(until - time.monotonic())
            if "method" in message:
                self._serve(message)
            elif message.get("id") == self._last_id:
                if message.get("error"):
                    raise McpError(str(message["error"].get("message") or message["error"]))
                return message.get("result") or {}

    def _serve(self, message: Message) -> None:
        """Answer a request of the server: a ping with nothing, any other with "no such method"."""
        if "id" not in message:
            return
        reply: Message = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            reply["result"] = {}
        else:
            reply["error"] = {"code": -32601, "message": f"{NAME} does not have {message['method']}"}
        self._transport.send(reply, CONNECT_TIMEOUT)


class Servers:
    """The servers of a configuration file that could be connected; stderr tells which."""

    def __init__(self, path: str, toolbox: Toolbox) -> None:
        """Raises `ConfigError` when the file cannot be used."""
        self.connected: dict[str, Server] = {}
        self._tools: list[Tool] = []
        for name, spec in _load(path).items():
            try:
                server = Server(name, _transport(spec, toolbox))
                self._tools += [self._tool(server, description) for description in server.tools()]
            except (McpError, ToolError) as error:
                say(f'warning: failed to connect MCP server "{name}": {error}')
            else:
                self.connected[name] = server
                say(f"connected MCP server: {name}")

    def tools(self) -> list[Tool]:
        """The servers' tools, and two to list and read their resources."""
        server_name = ("string", "The name of the MCP server")
        return [
            *self._tools,
            _plain_tool(
                "ListMcpResources",
                "Lists the resources that MCP servers offer, of all servers unless `server_name` is given.",
                schema((), server_name=server_name),
                self._list_resources,
            ),
            _plain_tool(
                "ReadMcpResource",
                "Reads a resource of an MCP server.",
                schema(
                    ("server_name", "uri"), server_name=server_name, uri=("string", "The URI of the resource")
                ),
                self._read_resource,
            ),
        ]

    def close(self) -> None:
        for server in self.connected.values():
            server.close()

    def _tool(self, server: Server, description: Message) -> Tool:
        name = str(description.get("name"))
        parameters = description.get("inputSchema") or {"type": "object", "properties": {}}

        def run(arguments: Arguments) -> str:
            missing = [key for key in parameters.get("required") or () if key not in arguments]
            if missing:
                raise ToolError(f"missing required field(s): {', '.join(missing)}")
            try:
                result = server.call(name, arguments)
            except McpError as error:
                raise ToolError(f"MCP server {server.name}: {error}") from error
            text = shorten(_result_text(result).encode("utf-8", "replace"), SHOWN)
            if result.get("isError"):
                raise ToolError(text)
            return text

        # Providers refuse other characters in the name of a function.
        known_as = re.sub(r"[^a-zA-Z0-9_-]", "_", f"mcp__{server.name}__{name}")
        return _plain_tool(known_as, str(description.get("description") or name), parameters, run)

    def _list_resources(self, arguments: Arguments) -> str:
        name = optional_text(arguments, "server_name")
        servers = [self._server(name)] if name else list(self.connected.values())
        lines: list[str] = []
        for server in servers:
            try:
                lines += [_resource_line(resource) for resource in server.resources()]
            except McpError as error:
                raise ToolError(f"MCP server {server.name}: {error}") from error
        return "MCP Resources:\n" + "\n".join(lines) if lines else "No resources found."

    def _read_resource(self, arguments: Arguments) -> str:
        server = self._server(required_text(arguments, "server_name"))
        try:
            contents = server.read(required_text(arguments, "uri"))
        except McpError as error:
            raise ToolError(f"MCP server {server.name}: {error}") from error
        text = "\n".join(_content_text(content) for content in contents)
        return shorten(text.encode("utf-8", "replace"), SHOWN)

    def _server(self, name: str) -> Server:
        if name not in self.connected:
            raise ToolError(f'no MCP server "{name}"; connected: {", ".join(self.connected) or "none"}')
        return self.connected[name]


def _plain_tool(name: str, description: str, parameters: Message, run: Run) -> Tool:
    return Tool(name, description, parameters, description, run)


def _load(path: str) -> dict[str, Message]:
    try:
        with open(path, "rb") as file:
            servers = json.loads(file.read())
    except OSError as error:
        raise ConfigError(f"error loading MCP config: reading {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"error loading MCP config: {path} is not JSON: {error}") from error
    if not isinstance(servers, dict) or not all(isinstance(spec, dict) for spec in servers.values()):
        raise ConfigError(f"error loading MCP config: {path} must map server names to objects")
    if not servers:
        raise ConfigError(f"error loading MCP config: {path} has no servers")
    return servers


def _transport(spec: Message, toolbox: Toolbox) -> Transport:
    kind = spec.get("type") or ("stdio" if "command" in spec else "http")
    needed = "command" if kind == "stdio" else "url"
    if kind not in ("stdio", "http", "sse"):
        raise McpError(f"type must be stdio, http or sse, not {kind!r}")
    if not spec.get(needed):
        raise McpError(f"{needed} is missing")
    if kind == "stdio":
        return Stdio(spec, toolbox.processes)
    return StreamableHttp(spec) if kind == "http" else Sse(spec, CALL_TIMEOUT)


def _result_text(result: Message) -> str:
    blocks = [_content_text(block) for block in result.get("content") or ()]
    if not blocks and "structuredContent" in result:
        return json.dumps(result["structuredContent"])
    return "\n".join(block for block in blocks if block)


def _content_text(block: Message) -> str:
    """A content block as text; what is no text is named."""
    if isinstance(block.get("resource"), dict):
        return _content_text(block["resource"])
    if block.get("text"):
        return str(block["text"])
    data = block.get("data") or block.get("blob")
    if data:
        return f"[binary data: {block.get('mimeType') or 'unknown type'}, {len(data) * 3 // 4} bytes]"
    return str(block.get("uri") or "")


def _resource_line(resource: Message) -> str:
    name, uri = resource.get("name", ""), resource.get("uri", "")
    return f"- {name} ({uri}): {resource.get('description', '')} [{resource.get('mimeType', '')}]"

"""What the SDK asks for itself: its token, the workspace's name."""

from __future__ import annotations

import base64
import json
import time

from modal_proto import api_pb2

from tests.modal_server.state import WORKSPACE, Call, State
from tests.modal_server.wire import Empty

TOKEN_LIFETIME = 3600


def unsigned_jwt(**claims: object) -> str:
    """Shaped as the SDK needs it: three parts of which it decodes the second, to read `exp`."""
    parts = ({"alg": "none", "typ": "JWT"}, {"exp": int(time.time()) + TOKEN_LIFETIME, **claims})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, "unsigned"))


class Clients:
    def __init__(self, state: State) -> None:
        self._state = state

    async def AuthTokenGet(
        self, request: api_pb2.AuthTokenGetRequest, call: Call
    ) -> api_pb2.AuthTokenGetResponse:
        return api_pb2.AuthTokenGetResponse(token=unsigned_jwt())

    async def ClientHello(self, request: Empty, call: Call) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse()

    async def WorkspaceNameLookup(self, request: Empty, call: Call) -> api_pb2.WorkspaceNameLookupResponse:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=WORKSPACE, username=WORKSPACE)

"""The server: collects the parts' methods, wraps each with counting and faults, and listens."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Server as GrpcServer
from grpclib.server import Stream
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from tests.modal_server.faults import Fault
from tests.modal_server.state import Call, State

REMEMBERED = 2000
"""Replies kept for their idempotency keys."""

CONTAINER_HEADER = "x-goat-container"
"""How the server knows which container calls; the container's environment makes the SDK send it."""

AnyStream = Stream[Any, Any]


class Dispatcher:
    """Answers every RPC of Modal's two services: by a part's method, or with UNIMPLEMENTED and its name."""

    def __init__(self, state: State, parts: Sequence[object], router_parts: Sequence[object]) -> None:
        self._state = state
        self._replies: OrderedDict[tuple[str, str], asyncio.Task[Any]] = OrderedDict()
        self._mapping = self._wrap(ModalClientBase, parts) | self._wrap(TaskCommandRouterBase, router_parts)

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._mapping

    def _wrap(self, base: Any, parts: Sequence[object]) -> dict[str, Handler]:
        wrapped = {}
        for path, handler in base.__mapping__(_Names()).items():
            rpc = cast(str, handler.func)
            methods = [getattr(part, rpc) for part in parts if hasattr(part, rpc)]
            assert len(methods) <= 1, f"{rpc} is answered by two parts"
            wrapped[path] = handler._replace(func=self._endpoint(rpc, methods[0] if methods else None))
        return wrapped

    def _endpoint(self, rpc: str, method: Any) -> Any:
        async def endpoint(stream: AnyStream) -> None:
            self._state.calls[rpc] += 1
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"tests/modal_server does not answer {rpc}")
            fault = self._state.faults.next(rpc)
            if fault is not None and fault.kind != "lost_reply":
                await _happen(fault, stream)
                return
            await self._answer(rpc, method, stream, lost=fault is not None)

        return endpoint

    async def _answer(self, rpc: str, method: Any, stream: AnyStream, *, lost: bool) -> None:
        call = self._authenticate(rpc, stream)
        request = stream if stream._cardinality.client_streaming else await stream.recv_message()
        answer = method(request, call)
        if inspect.isasyncgen(answer):
            await _stream_out(answer, stream, lost=lost)
            return
        reply = await self._once(rpc, call.metadata.get("x-idempotency-key", ""), answer)
        if lost:
            await stream.cancel()
        else:
            await stream.send_message(reply)

    async def _once(self, rpc: str, key: str, answer: Any) -> Any:
        """The reply to this call, or that to an earlier one of the same key. A failed one does not count."""
        if not key or not self._state.limits.idempotency:
            return await answer
        known = self._replies.get((rpc, key))
        if known is not None:
            answer.close()
        else:
            known = self._replies[rpc, key] = asyncio.ensure_future(answer)
            if len(self._replies) > REMEMBERED:
                self._replies.popitem(last=False)
        try:
            return await asyncio.shield(known)
        except Exception:
            self._replies.pop((rpc, key), None)
            raise

    def _authenticate(self, rpc: str, stream: AnyStream) -> Call:
        """Raises UNAUTHENTICATED for a client whose token is not this server's."""
        metadata = {key: str(value) for key, value in (stream.metadata or {}).items()}
        container = metadata.get(CONTAINER_HEADER, "")
        token = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
        of_client = metadata.get("x-modal-client-type") == str(api_pb2.CLIENT_TYPE_CLIENT)
        if of_client and token != (self._state.token_id, self._state.token_secret):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or not known")
        return Call(rpc, metadata, container)


class _Names:
    """In place of a service: what the generated mapping takes for a method is the method's name."""

    def __getattr__(self, name: str) -> str:
        return name


async def _stream_out(answer: AsyncIterator[Any], stream: AnyStream, *, lost: bool) -> None:
    """With `lost`, the stream is reset after the first message, if there is one."""
    async for message in answer:
        await stream.send_message(message)
        if lost:
            await stream.cancel()
            return


async def _happen(fault: Fault, stream: AnyStream) -> None:
    """Do to a call, in place of an answer, what `fault` says."""
    if fault.kind == "hang":
        await asyncio.Event().wait()
    elif fault.kind == "reset":
        await stream.cancel()
    elif fault.kind == "abort":
        stream._stream._transport.abort()
    else:
        raise fault.error()


async def listen(dispatcher: Dispatcher, port: int = 0) -> tuple[GrpcServer, str]:
    """Serve on loopback; 0 is any free port. Returns the server and its URL."""
    server = GrpcServer([cast(Any, dispatcher)], status_details_codec=custom_detail_codec)
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    # asyncio does so only for sockets that it made itself; without it each answer takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await server.start(sock=listener)
    return server, f"http://127.0.0.1:{listener.getsockname()[1]}"

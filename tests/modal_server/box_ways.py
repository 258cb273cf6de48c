"""The ways out of a box: sockets that listen on its loopback, carried to the same ports of the host's."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from modal_proto import api_pb2

_CHUNK = 1 << 16


def permitted_ports(access: api_pb2.NetworkAccess, urls: Iterable[str]) -> list[int]:
    """The ports of those of the server's web functions that a sandbox may reach, at 127.0.0.1."""
    if not _permits_loopback(access):
        return []
    return sorted({port for url in urls if (port := urlsplit(url).port)})


def _permits_loopback(access: api_pb2.NetworkAccess) -> bool:
    if access.network_access_type == api_pb2.NetworkAccess.BLOCKED:
        return False
    if access.network_access_type != api_pb2.NetworkAccess.ALLOWLIST:
        return True
    if {"*", "localhost", "127.0.0.1"} & set(access.allowed_domains):
        return True
    here = ipaddress.ip_address("127.0.0.1")
    return any(here in ipaddress.ip_network(cidr, strict=False) for cidr in access.allowed_cidrs)


class Ways:
    """Serves listening sockets of a box until `close`."""

    def __init__(self, listeners: Sequence[int]) -> None:
        self._sockets = [socket.socket(fileno=fd) for fd in listeners]
        self._tasks: set[asyncio.Task[None]] = set()
        for sock in self._sockets:
            sock.setblocking(False)
            self._add(self._accept(sock, sock.getsockname()[1]))

    def _add(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listener)
            self._add(_carry(accepted, port))

    async def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _carry(accepted: socket.socket, port: int) -> None:
    """Carry one connection to `port` of the host; where nobody listens it is closed at once."""
    inner_reader, inner_writer = await asyncio.open_connection(sock=accepted)
    with contextlib.suppress(OSError):
        try:
            outer_reader, outer_writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_pump(inner_reader, outer_writer), _pump(outer_reader, inner_writer))
            finally:
                outer_writer.close()
        finally:
            inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()

"""Messages between harness and launcher: one JSON object a packet, with file descriptors beside it."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from pytest_goat.sandbox.local import syscalls

Message = dict[str, Any]

_INLINE = 64 * 1024
"""Bytes of a packet; a longer message travels in a memory file, whose descriptor comes first."""
_MAX_FDS = 64
_IN_FILE = b"\n"


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that `send` and `receive` work on."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message. The descriptors stay open here. Raises `OSError` when the other side is gone."""
    payload = json.dumps(message).encode()
    if len(payload) <= _INLINE:
        _send_packet(sock, payload, fds)
        return
    file = syscalls.memory_file("goat-message")
    try:
        os.truncate(file, len(payload))
        os.pwrite(file, payload, 0)
        _send_packet(sock, _IN_FILE, [file, *fds])
    finally:
        os.close(file)


def _send_packet(sock: socket.socket, payload: bytes, fds: Sequence[int]) -> None:
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([payload], beside)


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """The next message and its descriptors, which the caller owns. Raises `EOFError` at the end."""
    fds = array.array("i")
    room = socket.CMSG_SPACE(_MAX_FDS * fds.itemsize)
    payload, beside, _, _ = sock.recvmsg(_INLINE, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not payload:
        raise EOFError("the other side is gone")
    if payload == _IN_FILE:
        file = fds.pop(0)
        try:
            payload = os.pread(file, os.fstat(file).st_size, 0)
        finally:
            os.close(file)
    message: Message = json.loads(payload)
    return message, fds.tolist()

"""A server that sends bytes as they are: for what no well-behaved server sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Self


class RawServer:
    """Each connection is read up to the end of a request's head and body, then given the next of `answers`.

    An answer is a sequence of pieces, each sent on its own; the connection is closed after the last one.
    """

    def __init__(self, *answers: Sequence[bytes]) -> None:
        self.seen: list[bytes] = []
        """What came on each connection."""
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        # Wakes an accept that nobody has answered.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.seen.append(_request(connection))
                try:
                    for piece in answer:
                        connection.sendall(piece)
                except OSError:
                    continue


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (block := connection.recv(65536)):
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    while lengths and len(body) < int(lengths[0]) and (block := connection.recv(65536)):
        body += block
    return head + b"\r\n\r\n" + body

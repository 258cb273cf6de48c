"""Proxies named by the environment, as Go's http.ProxyFromEnvironment reads them (no proxy passwords)."""

from __future__ import annotations

import os

from .http1 import MAX_HEADER, HttpError, Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


def proxy_for(url: Url) -> Url | None:
    """The proxy for `url`: HTTP_PROXY or HTTPS_PROXY, less what NO_PROXY names; never for loopback."""
    host = url.host.lower()
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    if any(_covers(entry.strip().lower(), host, url.port) for entry in _variable("no_proxy").split(",")):
        return None
    text = _variable(f"{url.scheme}_proxy")
    if not text:
        return None
    return Url(text if "://" in text else f"http://{text}")


def tunnel(connection: socket.socket, url: Url) -> None:
    """Ask the proxy at the other end of `connection` for a way to `url`'s host. Raises `HttpError`."""
    where = f"{url.host}:{url.port}"
    connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # One byte at a time: what comes after the head belongs to TLS.
        byte = connection.recv(1)
        if not byte or len(answer) > MAX_HEADER:
            raise HttpError("connect", f"the proxy gave no way to {where}")
        answer += byte
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise HttpError("connect", f"the proxy refused {where}: {answer.splitlines()[0].decode('latin-1')}")


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _covers(entry: str, host: str, port: int) -> bool:
    name, _, wanted = entry.partition(":")
    if not name or (wanted and wanted != str(port)):
        return False
    return name == "*" or host == name.lstrip(".") or host.endswith("." + name.lstrip("."))

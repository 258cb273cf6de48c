"""A small HTTP/1.1 client: one kept-alive connection, timeouts everywhere, bodies read as they arrive.

http.client would do, but importing it (email, ssl, urllib.parse) takes 15 to 20 ms more, half of a whole run
of three turns. RFC 9112 says what is done here: framing by chunks, by length, or by the end of the
connection.
"""

from __future__ import annotations

import os
import select
import socket

from . import NAME, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader

CONNECT_TIMEOUT = 10.0
MAX_HEADER = 65536
MAX_REDIRECTS = 5
BLOCK = 65536
_PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


class HttpError(Exception):
    """No answer, or not all of it. `kind`: connect, tls, timeout, dropped (it went away), protocol."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Url:
    """The parts of an absolute http or https URL. Raises `HttpError` (protocol) when it is none."""

    def __init__(self, text: str) -> None:
        scheme, separator, rest = text.partition("://")
        self.scheme = scheme.lower()
        authority, slash, target = rest.partition("/")
        if not separator or self.scheme not in ("http", "https") or not authority:
            raise HttpError("protocol", f"not an http or https URL: {text!r}")
        self.target = slash + target.partition("#")[0] or "/"
        self.authority = authority.rpartition("@")[2]
        host, colon, port = self.authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = self.authority, ""
        self.host = host.strip("[]")
        try:
            self.port = int(port or (443 if self.scheme == "https" else 80))
        except ValueError:
            raise HttpError("protocol", f"not a port: {port!r} in {text!r}") from None

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def join(self, location: str) -> str:
        """The absolute URL of a redirect's or an SSE endpoint's `location`."""
        if "://" in location:
            return location
        if location.startswith("/"):
            return f"{self.scheme}://{self.authority}{location}"
        return f"{self.scheme}://{self.authority}{self.target.rpartition('/')[0]}/{location}"


class Http:
    """One connection to one origin at a time, kept open between requests. `idle`: seconds without a byte."""

    def __init__(self, idle: float) -> None:
        self.idle = idle
        self._link: _Link | None = None

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send a request, follow 307 and 308, return the answer with its body unread. Raises `HttpError`."""
        for _ in range(MAX_REDIRECTS):
            target = Url(url)
            response = self._send(method, target, headers, body)
            location = response.headers.get("location")
            if response.status not in (307, 308) or not location:
                return response
            response.read()
            url = target.join(location)
            if Url(url).origin != target.origin:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise HttpError("protocol", f"more than {MAX_REDIRECTS} redirects, the last to {url}")

    def close(self) -> None:
        """Close the connection; a later request opens another."""
        if self._link is not None:
            self._link.close()
        self._link = None

    def _send(self, method: str, url: Url, headers: Mapping[str, str], body: bytes) -> Response:
        head = _head(method, url, headers, len(body))
        if self._link is None or self._link.origin != url.origin or not self._link.free():
            self.close()
            self._link = _Link(url)
        return self._link.exchange(head, body, self.idle)


class _Link:
    """An open connection, and the answer that it last carried."""

    def __init__(self, url: Url) -> None:
        self.origin = url.origin
        self._socket = _connect(url)
        self._reader = self._socket.makefile("rb")
        self._answer: Response | None = None

    def free(self) -> bool:
        """Whether it can carry another request: not when the server has closed it in the meantime."""
        if self._answer is not None and not self._answer.release():
            return False
        return not select.select([self._socket], [], [], 0)[0]

    def exchange(self, head: bytes, body: bytes, idle: float) -> Response:
        self._socket.settimeout(idle)
        try:
            self._socket.sendall(head + body)
            self._answer = Response(self._socket, self._reader)
        except OSError as error:
            raise _failure(error, self._socket.gettimeout()) from error
        return self._answer

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def _head(method: str, url: Url, headers: Mapping[str, str], length: int) -> bytes:
    fields = {"Host": url.authority, "User-Agent": f"{NAME}/{VERSION}", **headers}
    if length or method == "POST":
        fields["Content-Length"] = str(length)
    proxied = url.scheme == "http" and _proxy(url) is not None
    target = f"http://{url.authority}{url.target}" if proxied else url.target
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise HttpError("protocol", "a header or the URL has a line break in it")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


class Response:
    """An answer: its status and headers (names in lower case); the body is read by one of the methods."""

    def __init__(self, connection: socket.socket, reader: BufferedReader) -> None:
        self._socket = connection
        self._reader = reader
        self._done = False
        version, self.status = self._status_line()
        while 100 <= self.status < 200:
            self._fields()
            version, self.status = self._status_line()
        self.headers = self._fields()
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        self._length = int(length) if length.isdigit() and not self._chunked else None
        if self.status in (204, 304):
            self._length = 0
        self.framed = self._chunked or self._length is not None
        """The end of the body can be told from a cut connection."""
        close = self.headers.get("connection", "keep-alive" if version != b"HTTP/1.0" else "close").lower()
        self._keep = self.framed and "close" not in close
        self.blocks = self._body()
        """The body as it arrives. Raises `HttpError`."""

    def read(self) -> bytes:
        """The whole body. Raises `HttpError`."""
        return b"".join(self.blocks)

    def lines(self) -> Iterator[bytes]:
        """The lines of the body as they arrive, of any length, without their ends. Raises `HttpError`."""
        rest = b""
        for block in self.blocks:
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield line.rstrip(b"\r")
        if rest:
            yield rest

    def release(self) -> bool:
        """Whether the connection can carry another request: what is left of the body must come at once."""
        if not self._keep or self._done:
            return self._keep
        self._socket.settimeout(0.05)
        try:
            for _ in self.blocks:
                pass
        except HttpError:
            return False
        return self._done

    def _body(self) -> Iterator[bytes]:
        try:
            if self._chunked:
                yield from self._chunks()
            elif self._length is not None:
                yield from self._exactly(self._length)
            else:
                while block := self._reader.read1(BLOCK):
                    yield block
        except OSError as error:
            raise _failure(error, self._socket.gettimeout()) from error
        self._done = True

    def _chunks(self) -> Iterator[bytes]:
        while True:
            text = self._line().partition(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise HttpError("protocol", f"not a chunk size: {text[:40]!r}") from None
            if size < 0:
                raise HttpError("protocol", f"not a chunk size: {size}")
            if size == 0:
                self._fields()
                return
            yield from self._exactly(size)
            self._line()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            block = self._reader.read1(min(size, BLOCK))
            if not block:
                raise HttpError("dropped", "the connection was closed in the middle of the answer")
            size -= len(block)
            yield block

    def _status_line(self) -> tuple[bytes, int]:
        line = self._line()
        version, _, rest = line.partition(b" ")
        code = rest[:3]
        if not version.startswith(b"HTTP/1.") or not code.isdigit():
            raise HttpError("protocol", f"not an HTTP answer: {line[:80]!r}")
        return version, int(code)

    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
            if len(fields) > 256:
                raise HttpError("protocol", "more than 256 headers")
        return fields

    def _line(self) -> bytes:
        line = self._reader.readline(MAX_HEADER)
        if not line.endswith(b"\n"):
            kind = "protocol" if len(line) == MAX_HEADER else "dropped"
            raise HttpError(kind, "the connection was closed before the answer was whole")
        return line.rstrip(b"\r\n")


def _failure(error: OSError, timeout: float | None) -> HttpError:
    if isinstance(error, socket.timeout):
        return HttpError("timeout", f"no byte came for {timeout or 0:g} s")
    return HttpError("dropped", f"the connection broke: {error.strerror or error}")


def _proxy(url: Url) -> Url | None:
    """The proxy that the environment names for `url`."""
    if not any(os.environ.get(name) for name in _PROXY_VARIABLES):
        return None
    from .proxy import proxy_for

    return proxy_for(url)


def _connect(url: Url) -> socket.socket:
    """A connected socket, through a proxy where one is set, with TLS for https."""
    proxy = _proxy(url)
    connection = _dial(proxy or url)
    try:
        if url.scheme == "http":
            return connection
        if proxy:
            from .proxy import tunnel

            tunnel(connection, url)
        return _secure(connection, url.host)
    except BaseException:
        connection.close()
        raise


def _dial(url: Url) -> socket.socket:
    # A host of bytes keeps getaddrinfo from importing the IDNA codec, 3 ms.
    failure: OSError | None = None
    try:
        addresses = socket.getaddrinfo(url.host.encode(), url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        addresses, failure = [], error
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(CONNECT_TIMEOUT)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    reason = failure.strerror or str(failure) if failure else "no address"
    raise HttpError("connect", f"cannot connect to {url.host}:{url.port}: {reason}")


def _secure(connection: socket.socket, host: str) -> socket.socket:
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise HttpError("tls", f"the certificate of {host} is not trusted: {error.verify_message}") from error
    except OSError as error:
        raise HttpError("connect", f"no TLS with {host}: {error.strerror or error}") from error

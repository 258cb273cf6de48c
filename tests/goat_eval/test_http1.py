"""The HTTP client: framing, what breaks it, proxies, TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_goat.goat_eval.http1 import Http, HttpError, Url
from pytest_goat.goat_eval.proxy import proxy_for
from tests.support.agent_run import AgentRunner, Ran
from tests.support.model_server import Answer, ModelServer
from tests.support.raw_server import RawServer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(idle=5)
    yield client
    client.close()


def answer(http: Http, *pieces: bytes) -> bytes:
    with RawServer(pieces) as server:
        return http.request("POST", f"http://127.0.0.1:{server.port}/x?y=1", {"A": "b"}, b"body").read()


class TestFraming:
    def test_the_request(self, http: Http) -> None:
        with RawServer([b"HTTP/1.1 204 None\r\n\r\n"]) as server:
            response = http.request("POST", f"http://127.0.0.1:{server.port}/x?y=1#z", {"A": "é"}, b"body")
            assert (response.status, response.read()) == (204, b"")
        head, body = server.seen[0].split(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"POST /x?y=1 HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}".encode(),
            b"User-Agent: goat-eval/1.0",
            "A: é".encode(),
            b"Content-Length: 4",
        ]
        assert body == b"body"

    @pytest.mark.parametrize(
        "pieces",
        [
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"],
            [b"HTTP/1.1 200\r\ncontent-LENGTH:5\r\n\r\n", b"he", b"llo"],
            [b"HTTP/1.1 200 OK\r\n\r\n", b"hel", b"lo"],
            [b"HTTP/1.0 200 OK\r\n\r\nhello"],
            [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
            [b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
            [CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"],
            [CHUNKED, b"2;x=y\r\nhe\r", b"\n03\r\nl", b"lo\r\n0\r\nT: 1\r\n\r\n"],
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                b"5\r\nhello\r\n0\r\n\r\n",
            ],
        ],
    )
    def test_bodies(self, http: Http, pieces: list[bytes]) -> None:
        assert answer(http, *pieces) == b"hello"

    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"", "dropped"),
            (b"HTTP/1.1 200 OK\r\n", "dropped"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", "dropped"),
            (CHUNKED + b"6\r\nhello", "dropped"),
            (CHUNKED + b"5\r\nhello\r\n", "dropped"),
            (CHUNKED + b"five\r\n", "protocol"),
            (CHUNKED + b"-5\r\n", "protocol"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
            (b"HTTP/1.1 abc\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", "protocol"),
            (b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: x\r\n" % n for n in range(300)) + b"\r\n", "protocol"),
        ],
        ids=lambda value: value[:40].decode() if isinstance(value, bytes) else value,
    )
    def test_what_is_broken(self, http: Http, data: bytes, kind: str) -> None:
        with pytest.raises(HttpError) as caught:
            answer(http, data)
        assert caught.value.kind == kind

    def test_lines(self, http: Http) -> None:
        with RawServer([b"HTTP/1.1 200 OK\r\n\r\none\r\n\r\ntw", b"o\nthree"]) as server:
            response = http.request("GET", f"http://127.0.0.1:{server.port}/", {})
            assert list(response.lines()) == [b"one", b"", b"two", b"three"]
            assert not response.framed

    def test_no_line_breaks_in_headers(self, http: Http) -> None:
        with pytest.raises(HttpError, match="line break"):
            http.request("GET", "http://127.0.0.1:1/", {"A": "b\r\nC: d"})


class TestUrls:
    @pytest.mark.parametrize(
        ("text", "origin", "target"),
        [
            ("http://host", ("http", "host", 80), "/"),
            ("HTTPS://host/a", ("https", "host", 443), "/a"),
            ("http://user:word@host:8080/a?b#c", ("http", "host", 8080), "/a?b"),
            ("http://[::1]:81/x", ("http", "::1", 81), "/x"),
            ("http://[::1]/x", ("http", "::1", 80), "/x"),
        ],
    )
    def test_parts(self, text: str, origin: tuple[str, str, int], target: str) -> None:
        url = Url(text)
        assert (url.origin, url.target) == (origin, target)

    @pytest.mark.parametrize(
        ("location", "joined"),
        [("/b", "http://h:1/b"), ("b", "http://h:1/a/b"), ("https://x/y", "https://x/y")],
    )
    def test_join(self, location: str, joined: str) -> None:
        assert Url("http://h:1/a/z?q").join(location) == joined


class TestProxies:
    @pytest.mark.parametrize(
        ("env", "url", "proxy"),
        [
            ({"HTTP_PROXY": "http://p:1"}, "http://example.com", "p"),
            ({"http_proxy": "p:1"}, "http://example.com", "p"),
            ({"HTTP_PROXY": "p:1"}, "https://example.com", None),
            ({"HTTPS_PROXY": "p:1"}, "https://example.com", "p"),
            ({"HTTP_PROXY": "p:1"}, "http://localhost:1", None),
            ({"HTTP_PROXY": "p:1"}, "http://127.0.0.9", None),
            ({"HTTP_PROXY": "p:1", "NO_PROXY": "*"}, "http://example.com", None),
            ({"HTTP_PROXY": "p:1", "no_proxy": "x, example.com"}, "http://a.example.com", None),
            ({"HTTP_PROXY": "p:1", "NO_PROXY": ".example.com"}, "http://a.example.com", None),
            ({"HTTP_PROXY": "p:1", "NO_PROXY": "ample.com"}, "http://example.com", "p"),
            ({"HTTP_PROXY": "p:1", "NO_PROXY": "example.com:81"}, "http://example.com", "p"),
            ({"HTTP_PROXY": "p:1", "NO_PROXY": "example.com:81"}, "http://example.com:81", None),
        ],
    )
    def test_which(
        self, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], url: str, proxy: str | None
    ) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found = proxy_for(Url(url))
        assert (found.host if found else None) == proxy

    def test_http_goes_through_it(self, agent: AgentRunner) -> None:
        with ModelServer([Answer("through the proxy")]) as proxy:
            env = {"HTTP_PROXY": f"127.0.0.1:{proxy.port}"}
            ran = agent.finish(
                agent.start("http://model.invalid/v1", "-prompt", "x", env=env), proxy.requests
            )
        assert ran.stdout == "through the proxy"
        assert ran.requests[0].path == "http://model.invalid/v1/chat/completions"
        assert ran.requests[0].headers["host"] == "model.invalid"

    def test_https_asks_it_for_a_tunnel(self, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
        with RawServer([b"HTTP/1.1 407 Who are you\r\n\r\n"]) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
            with pytest.raises(HttpError, match="the proxy refused"):
                http.request("GET", "https://model.invalid/", {})
        assert proxy.seen[0].startswith(b"CONNECT model.invalid:443 HTTP/1.1\r\nHost: model.invalid:443\r\n")


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> tuple[Path, Path]:
        if not shutil.which("openssl"):
            pytest.skip("openssl is not here to make a certificate")
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", "req", "-x509", *subject, *kind, *files], check=True, capture_output=True)
        return certificate, key

    def test_a_trusted_server(self, agent: AgentRunner, certificate: tuple[Path, Path]) -> None:
        ran = self.run(agent, certificate, {"SSL_CERT_FILE": str(certificate[0])})
        assert ran.stdout == "secret"

    def test_an_untrusted_server(self, agent: AgentRunner, certificate: tuple[Path, Path]) -> None:
        ran = self.run(agent, certificate, {})
        assert ran.stderr.startswith("error: the certificate of localhost is not trusted: self")
        assert (ran.result["error"]["kind"], ran.result["llm"]["requests"]) == ("gateway_unreachable", 1)

    def test_a_server_without_tls(self, agent: AgentRunner) -> None:
        with ModelServer([]) as server:
            ran = agent.finish(agent.start(f"https://localhost:{server.port}/v1", "-prompt", "x"), [])
        assert ran.stderr.startswith("error: no TLS with localhost: ")
        assert ran.result["llm"]["requests"] == 4

    def run(self, agent: AgentRunner, certificate: tuple[Path, Path], env: dict[str, str]) -> Ran:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with ModelServer([Answer("secret")], tls=context) as server:
            return agent.finish(agent.start(server.url, "-prompt", "x", env=env), server.requests)

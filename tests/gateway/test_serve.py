"""The program of the gateway's container, as processes that share a Dict on the Modal test server."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.modal import RunningServer, modal_server
from tests.support.model_server import Answer, ModelServer
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PROVIDER_KEY = "sk-provider-0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with modal_server() as running:
        yield running


@dataclasses.dataclass
class Program:
    """A gateway that runs."""

    process: subprocess.Popen[bytes]
    url: str

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_for(self, status: int) -> dict[str, Any]:
        """What its health is once it answers so."""
        while True:
            assert self.process.poll() is None, "the gateway has ended"
            try:
                found, health = self.health()
            except (urllib.error.URLError, ConnectionError):
                continue
            if found == status:
                return health


@contextmanager
def program(environ: Mapping[str, str], *arguments: str) -> Iterator[Program]:
    port = free_port()
    command = [sys.executable, "-m", "pytest_goat.gateway.serve", "--port", str(port), *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(command, cwd=ROOT, env={**kept, **environ}, stderr=subprocess.PIPE)
    with process:
        try:
            yield Program(process, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


HOST = """
import asyncio, dataclasses, json, sys
from pathlib import Path
import aiohttp
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.dict_shelf import DictShelf
from pytest_goat.gateway.remote import RemoteGateway

async def main(urls, suite, model):
    gateway = RemoteGateway(urls[0], "run-1", b"s" * 32, [model], shelf=DictShelf("main"), cold_start=60)
    await gateway.start()
    key = TrialKey("run-1", "trial", "task", model, Path(suite))
    await gateway.preflight(model, [key])
    endpoint = gateway.open(key)
    endpoint.set_workdir("/job")
    told = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {endpoint.api_key}"}) as session:
        async def call(url, turn):
            history = [{"role": "assistant", "content": "x"}] * (turn - 1)
            body = {"model": model, "messages": history, "stream": False}
            async with session.post(url + "/v1/chat/completions", json=body) as answer:
                return answer.status, (await answer.json()).get("choices", [{}])[0].get("message")
        for turn, url in enumerate(urls, 1):
            told.append(await call(url, turn))
        seen = await endpoint.seen()
        await endpoint.close()
        told.append(await call(urls[0], 1))
    await gateway.stop()
    print(json.dumps([told, [dataclasses.asdict(c) for c in seen.calls]]))

asyncio.run(main(sys.argv[1].split(","), *sys.argv[2:]))
"""


def run_host(server: RunningServer, urls: list[str], suite: Path, model: str) -> tuple[list[Any], list[Any]]:
    """What an agent got that asked each container once, and the first again at the end; what was seen."""
    host = subprocess.run(
        [sys.executable, "-c", HOST, ",".join(urls), str(suite), model],
        cwd=ROOT, env={**os.environ, **server.env}, capture_output=True, timeout=100,
    )  # fmt: skip
    assert host.returncode == 0, host.stderr.decode()
    told, seen = json.loads(host.stdout)
    return told, seen


def test_two_containers_serve_a_run_through_one_dict(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "task.yaml").write_text("turns: [{text: 'in {workdir}'}, {text: Done.}]")
    environ = {**server.env, "MODAL_ENVIRONMENT": "main", "GOAT_CONFIG_HASH": "abc123"}
    with program(environ, "--shelf", "dict") as one, program(environ, "--shelf", "dict") as two:
        health = one.wait_for(200)
        assert (health["status"], health["config"], health["litellm"]) == ("ok", "abc123", False)
        two.wait_for(200)
        told, seen = run_host(server, [one.url, two.url], tmp_path, "replay")
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
    assert [status for status, _ in told] == [200, 200, 401]
    assert [message["content"] for _, message in told[:2]] == ["in /job", "Done."]
    assert [(call["status"], call["finish_reason"]) for call in seen] == [(200, "stop")] * 2


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "pytest_goat.gateway.serve", "--port", str(port)]
        ended = subprocess.run(
            command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, timeout=60
        )
    assert ended.returncode == 1
    assert ended.stderr.decode() == f"goat gateway: port {port}: Address already in use\n"


@pytest.mark.skipif(find_spec("litellm") is None, reason="needs pytest-goat[gateway]")
def test_litellm_serves_behind_it_and_neither_outlives_the_other(
    server: RunningServer, tmp_path: Path
) -> None:
    rows = tmp_path / "models.yaml"
    rows.write_text(
        "my-model: {provider: openai, route: openai/far-model, context: 8192, max_output: 4096, "
        "price: {input: 1, output: 10000}, env: {api_key: MY_KEY, api_base: MY_BASE}}"
    )
    with ModelServer([Answer("OK"), Answer("Done.")], api_key=PROVIDER_KEY) as provider:
        environ = {
            **server.env, "MODAL_ENVIRONMENT": "main", "GOAT_MODELS": str(rows),
            "MY_KEY": PROVIDER_KEY, "MY_BASE": provider.url,
        }  # fmt: skip
        with program(environ, "--shelf", "dict") as gateway:
            health = gateway.wait_for(503)
            assert (health["status"], health["litellm"]) == ("starting", False)
            assert gateway.wait_for(200)["litellm"]
            [litellm] = children(gateway.process.pid)
            for pid in (gateway.process.pid, litellm):
                assert PROVIDER_KEY not in Path(f"/proc/{pid}/cmdline").read_text()
            told, seen = run_host(server, [gateway.url], tmp_path, "my-model")
            os.kill(litellm, signal.SIGKILL)
            _, errors = gateway.process.communicate(timeout=30)
    assert [status for status, _ in told] == [200, 401]
    assert told[0][1]["content"] == "Done."
    assert [call["usage"]["cost"] for call in seen] == [pytest.approx(0.05001)]
    assert gateway.process.returncode == 1
    assert b"LiteLLM has ended" in errors
    assert PROVIDER_KEY.encode() not in errors


@pytest.mark.skipif(find_spec("litellm") is None, reason="needs pytest-goat[gateway]")
def test_litellm_that_still_starts_ends_with_it() -> None:
    with program({"OPENAI_API_KEY": PROVIDER_KEY}) as gateway:
        gateway.wait_for(503)
        [litellm] = children(gateway.process.pid)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert not Path(f"/proc/{litellm}").exists()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for line in found for child in line]

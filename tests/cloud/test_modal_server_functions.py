"""The Modal server of the tests: apps that are deployed by the real CLI, and whose web functions run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.modal import RunningServer, modal_server, run_cli, run_sdk

APP = """
import os, subprocess, sys
from pathlib import Path
import modal

HERE = Path(__file__).parent
image = (
    modal.Image.debian_slim()
    .env({"IN_IMAGE": "yes"})
    .add_local_file(HERE / "copied.txt", "/etc/web/copied.txt", copy=True)
    .add_local_file(HERE / "server.py", "/opt/web/server.py")
)
app = modal.App("web", image=image)
volume = modal.Volume.from_name("web-data", create_if_missing=True, version=2)


@app.function(secrets=[modal.Secret.from_name("web-secret")], volumes={"/data": volume})
@modal.concurrent(max_inputs=10)
@modal.web_server(4000, startup_timeout=20)
def gateway():
    assert not modal.is_local()
    Path("/etc/web/written").write_text("in the container alone")
    subprocess.Popen([sys.executable, "/opt/web/server.py"])


@app.function()
@modal.web_server(4000)
def broken():
    raise SystemExit("no such luck")


@app.function()
@modal.web_server(4000, requires_proxy_auth=True)
def guarded():
    subprocess.Popen([sys.executable, "/opt/web/server.py", os.environ["GOAT_GUARDED_PORT"]])
"""

SERVER = """
import asyncio, os, sys
from pathlib import Path
import modal
from aiohttp import web

BEAT = asyncio.Event()


async def state(request):
    shelf = modal.Dict.from_name("web-shelf", create_if_missing=True)
    return web.json_response({
        "container": os.environ["MODAL_TASK_ID"],
        "variables": [os.environ["IN_IMAGE"], os.environ.get("IN_SECRET")],
        "copied": Path("/etc/web/copied.txt").read_text(),
        "files": sorted(os.listdir("/data")) if os.path.isdir("/data") else [],
        "claimed": await shelf.put.aio("claim", 1, skip_if_exists=True),
    })


async def volume(request):
    volume = modal.Volume.from_name("web-data")
    match dict(request.query):
        case {"write": name}:
            Path("/data", name).write_text("x")
        case {"commit": _}:
            await volume.commit.aio()
        case {"reload": _}:
            await volume.reload.aio()
    return web.Response()


async def stream(request):
    # The second part goes out when a second request says that the first part has come through.
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first\\n")
    await BEAT.wait()
    await response.write(b"second\\n")
    return response


async def beat(request):
    BEAT.set()
    return web.Response()


async def die(request):
    os._exit(1)


async def echo(request):
    return web.Response(body=await request.read(), status=418, headers={"X-Seen": request.path_qs})


app = web.Application(client_max_size=1 << 26)
app.add_routes([web.get("/state", state), web.get("/volume", volume), web.get("/stream", stream)])
app.add_routes([web.get("/beat", beat), web.get("/die", die), web.post("/echo", echo)])
port = int(sys.argv[1] if sys.argv[1:] else os.environ["GOAT_GATEWAY_PORT"])
web.run_app(app, host="127.0.0.1", port=port, print=None)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "web_app.py").write_text(APP)
    (folder / "server.py").write_text(SERVER)
    (folder / "copied.txt").write_text("copied")
    return folder


@pytest.fixture(scope="module")
def server(sources: Path) -> Iterator[RunningServer]:
    """With the app deployed in the environment `goat`."""
    with modal_server() as running:
        run_cli(running, "environment", "create", "goat")
        run_cli(running, "secret", "create", "web-secret", "IN_SECRET=hush", "--env", "goat")
        run_cli(running, "deploy", str(sources / "web_app.py"), "--env", "goat")
        yield running


@pytest.fixture
def urls(server: RunningServer) -> dict[str, str]:
    code = """
        names = ["gateway", "broken", "guarded"]
        found = [modal.Function.from_name("web", name, environment_name="goat") for name in names]
        answer = {name: function.get_web_url() for name, function in zip(names, found)}
    """
    return dict(run_sdk(server, code))


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def state(url: str) -> dict[str, Any]:
    status, body, _ = fetch(f"{url}/state")
    assert status == 200, body.decode()
    return dict(json.loads(body))


def test_a_web_function_runs_with_all_that_it_was_given(server: RunningServer, urls: dict[str, str]) -> None:
    assert server.ask("containers") == []
    first, second = state(urls["gateway"]), state(urls["gateway"])
    assert first["variables"] == ["yes", "hush"]
    assert first["copied"] == "copied"
    assert (first["claimed"], second["claimed"]) == (True, False)
    assert first["container"] == second["container"]
    assert not Path("/etc/web").exists(), "what a container writes stays in it"


def test_requests_and_replies_go_through_as_they_are(urls: dict[str, str]) -> None:
    status, body, headers = fetch(f"{urls['gateway']}/echo?a=%2Fb", b"\x00" * 3_000_000)
    assert (status, body, headers["X-Seen"]) == (418, b"\x00" * 3_000_000, "/echo?a=%2Fb")
    with urllib.request.urlopen(f"{urls['gateway']}/stream", timeout=40) as stream:
        assert stream.readline() == b"first\n"
        fetch(f"{urls['gateway']}/beat")
        assert stream.readline() == b"second\n"


def test_two_containers_take_turns_and_see_what_the_other_committed(
    server: RunningServer, urls: dict[str, str]
) -> None:
    server.ask("start", app="web", function="gateway", environment="goat", containers=2)
    one, other = (container["url"] for container in server.ask("containers"))
    assert len({state(urls["gateway"])["container"] for _ in range(4)}) == 2

    fetch(f"{one}/volume?write=a")
    assert state(one)["files"] == ["a"]
    fetch(f"{other}/volume?reload=1")
    assert state(other)["files"] == [], "not committed"
    fetch(f"{one}/volume?commit=1")
    assert state(other)["files"] == [], "not reloaded"
    fetch(f"{other}/volume?reload=1")
    assert state(other)["files"] == ["a"]

    lost, ended = (container["id"] for container in server.ask("containers"))
    fetch(f"{one}/volume?write=b")
    fetch(f"{other}/volume?write=c")
    server.ask("end_container", id=lost, kill=True)
    server.ask("end_container", id=ended)
    listed = run_cli(server, "volume", "ls", "web-data", "--env", "goat", "--json")
    assert [row["filename"] for row in json.loads(listed)] == ["a", "c"]
    server.ask("start", app="web", function="gateway", environment="goat", containers=1)


def test_a_function_that_fails_says_what_it_said(server: RunningServer, urls: dict[str, str]) -> None:
    status, body, _ = fetch(urls["broken"])
    assert status == 500
    assert b"no such luck" in body
    with pytest.raises(ValueError, match="no such luck"):
        server.ask("start", app="web", function="broken", environment="goat")


def test_a_container_whose_server_is_gone_is_replaced(urls: dict[str, str]) -> None:
    before = state(urls["gateway"])["container"]
    assert fetch(f"{urls['gateway']}/die")[0] == 502
    fetch(f"{urls['gateway']}/state")  # finds the port closed, unless the first one was tried twice
    assert state(urls["gateway"])["container"] != before


def test_a_guarded_function_wants_a_proxy_token(urls: dict[str, str]) -> None:
    assert fetch(f"{urls['guarded']}/echo", b"x")[0] == 401
    token = {"Modal-Key": "wk-test", "Modal-Secret": "ws-test"}
    assert fetch(f"{urls['guarded']}/echo", b"x", **token)[:2] == (418, b"x")


def test_it_is_deployed_again_and_stopped(server: RunningServer, urls: dict[str, str], sources: Path) -> None:
    before = state(urls["gateway"])["container"]
    run_cli(server, "deploy", str(sources / "web_app.py"), "--env", "goat", "--tag", "second")
    assert server.ask("containers") == []
    assert state(urls["gateway"])["container"] != before
    assert "second" in run_cli(server, "app", "history", "web", "--env", "goat")

    run_cli(server, "app", "stop", "web", "--env", "goat", "--yes")
    (app,) = json.loads(run_cli(server, "app", "list", "--env", "goat", "--json"))
    assert app["state"] == "stopped"
    assert server.ask("containers") == []
    assert fetch(urls["gateway"])[0] == 404

    run_cli(server, "deploy", str(sources / "web_app.py"), "--env", "goat")
    assert state(urls["gateway"])["container"], "at the URL that it had"


def test_an_app_is_deployed_by_the_sdk(server: RunningServer, sources: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(sources)!r})
        import web_app
        web_app.app.deploy(name="web-by-sdk", environment_name="goat")
        function = modal.Function.from_name("web-by-sdk", "gateway", environment_name="goat")
        answer = function.get_web_url()
    """
    assert state(run_sdk(server, code))["copied"] == "copied"

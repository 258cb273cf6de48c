"""The Modal server of the tests: who may call, counts, faults, idempotency, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.modal import ROOT, RunningServer, modal_server, run_cli, run_sdk


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    with modal_server() as server:
        yield server


@pytest.fixture
def server(running: RunningServer) -> Iterator[RunningServer]:
    running.reset_calls()
    yield running
    running.clear_faults()
    running.set(idempotency=True)


def test_an_app_is_looked_up_in_one_call(server: RunningServer) -> None:
    code = """
        app = modal.App.lookup("goat-sandbox", create_if_missing=True)
        answer = [app.app_id, modal.App.lookup("goat-sandbox").app_id]
    """
    first, second = run_sdk(server, code)
    assert first == second
    assert server.calls() == {"AppGetOrCreate": 2}


def test_what_an_app_or_an_environment_runs_ends_with_it(server: RunningServer) -> None:
    code = """
        modal.Environment.objects.create("short")
        for name, environment in (("in-main", "main"), ("in-short", "short")):
            app = modal.App.lookup(name, environment_name=environment, create_if_missing=True)
            modal.Sandbox.create(app=app, image=modal.Image.debian_slim(), timeout=100).detach()
    """
    run_sdk(server, code)
    assert len(server.live()) == 2
    run_cli(server, "app", "stop", "in-main", "--yes")
    assert len(server.live()) == 1
    run_cli(server, "environment", "delete", "short", "--yes")
    assert server.live() == []


def test_a_wrong_token_is_refused(server: RunningServer) -> None:
    code = """
        try:
            modal.App.lookup("goat-sandbox", create_if_missing=True)
        except modal.exception.AuthError as error:
            answer = str(error)
    """
    assert "Token" in run_sdk(server, code, MODAL_TOKEN_SECRET="as-wrong")


def test_an_rpc_that_is_not_known_is_named(server: RunningServer) -> None:
    code = """
        try:
            modal.Queue.from_name("q", create_if_missing=True).len()
        except modal.exception.UnimplementedError as error:
            answer = str(error)
    """
    assert "QueueGetOrCreate" in run_sdk(server, code)


def test_faults_are_what_the_sdk_raises_or_outlives(server: RunningServer) -> None:
    server.fault("DictLen", "unavailable", times=2)
    server.fault("DictGet", "resource_exhausted", retry_after=0.1)
    server.fault("DictContains", "resource_exhausted")
    server.fault("DictUpdate", "reset")
    server.fault("DictPop", "abort", after=1)
    server.fault("DictClear", "permission_denied")
    server.fault("DictDelete", "failed_precondition")
    server.fault("DictList", "internal", times=9)
    server.fault("SecretList", "unauthenticated")
    server.fault("VolumeList", "not_found", message="no such thing")
    server.fault("EnvironmentList", "hang")
    code = """
        import asyncio
        d = modal.Dict.from_name("faulty", create_if_missing=True)
        d["k"] = d["l"] = 1

        def raised(call):
            try:
                call()
            except modal.Error as error:
                return type(error).__name__

        async def hangs():
            try:
                await asyncio.wait_for(modal.Environment.objects.list.aio(), 0.3)
            except asyncio.TimeoutError:
                return True

        answer = {
            "outlived": [d.len(), d["k"], d.pop("k"), d.pop("l")],
            "raised": [
                raised(lambda: d.contains("k")),
                raised(d.clear),
                raised(lambda: modal.Dict.objects.delete("faulty")),
                raised(modal.Dict.objects.list),
                raised(modal.Secret.objects.list),
                raised(modal.Volume.objects.list),
            ],
            "hangs": asyncio.run(hangs()),
        }
    """
    assert run_sdk(server, code) == {
        "outlived": [2, 1, 1, 1],
        "raised": [
            "ResourceExhaustedError",
            "PermissionDeniedError",
            "ConflictError",
            "InternalError",
            "AuthError",
            "NotFoundError",
        ],
        "hangs": True,
    }
    calls = server.calls()
    assert {name: calls[name] for name in ("DictLen", "DictGet", "DictUpdate", "DictPop", "DictList")} == {
        "DictLen": 3,
        "DictGet": 2,
        "DictUpdate": 3,
        "DictPop": 3,
        "DictList": 4,
    }


@pytest.mark.parametrize("idempotency", [True, False])
def test_a_call_whose_reply_is_lost_is_done_once_by_its_key(server: RunningServer, idempotency: bool) -> None:
    server.set(idempotency=idempotency)
    server.fault("DictUpdate", "lost_reply")
    code = f"""
        d = modal.Dict.from_name("lost-{idempotency}", create_if_missing=True)
        answer = [d.put("k", 1, skip_if_exists=True), d["k"]]
    """
    assert run_sdk(server, code) == [idempotency, 1]


def test_a_fault_for_a_while_is_over_by_itself(server: RunningServer) -> None:
    server.fault("AppGetOrCreate", "unavailable", seconds=0.25)
    code = 'answer = modal.App.lookup("late", create_if_missing=True).app_id'
    assert run_sdk(server, code).startswith("ap-")
    assert server.calls()["AppGetOrCreate"] > 1


@pytest.mark.parametrize(
    ("name", "details", "complaint"),
    [
        ("fault", {"rpc": "AppList", "kind": "flood"}, "no fault 'flood'"),
        ("set", {"create_rat": 3}, "no limit create_rat"),
        ("cals", {}, "one of"),
    ],
)
def test_a_wrong_wish_is_refused_with_what_is_wrong(
    server: RunningServer, name: str, details: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        server.ask(name, **details)


def test_it_ends_with_its_parent() -> None:
    code = """
import signal
from tests.support.modal import modal_server
with modal_server() as server:
    print(server.admin, flush=True)
    signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        admin = parent.stdout.readline().strip()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _answers(admin):
        assert time.monotonic() < deadline, "the server outlives its parent"
        time.sleep(0.05)


def _answers(admin: str) -> bool:
    try:
        urllib.request.urlopen(f"{admin}/calls", b"{}", timeout=5).close()
    except OSError:  # refused, or cut while it ends
        return False
    return True


def test_by_hand_it_says_what_to_export() -> None:
    command = [sys.executable, "-m", "tests.modal_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in said[:4])
        server = RunningServer(exports["MODAL_SERVER_URL"], said[4].split()[-1], exports)
        run_cli(server, "app", "list")
        process.terminate()
    assert process.returncode == os.EX_OK

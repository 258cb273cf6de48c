"""Reaching Modal: one clear message in time, whatever is missing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pytest_goat.cloud.client import configured, within
from tests.modal_server.faults import ALWAYS
from tests.support.modal import ROOT, RunningServer, modal_server, run_cli
from tests.support.ports import closed_port

CONNECT = """
import asyncio, sys, time
from pytest_goat.cloud.client import connect
from pytest_goat.errors import UserError
import modal
started = time.monotonic()
try:
    print("connected to", asyncio.run(connect(sys.argv[1], seconds=float(sys.argv[2]))).environment)
except UserError as error:
    print(error)
print("within", time.monotonic() - started)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with modal_server() as running:
        run_cli(running, "environment", "create", "goat")
        yield running


def connect(env: Mapping[str, str], environment: str = "goat", seconds: float = 10) -> tuple[str, float]:
    """What a process of its own says when it connects, and how many seconds that took."""
    command = [sys.executable, "-c", CONNECT, environment, str(seconds)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    done = subprocess.run(
        command, cwd=ROOT, env={**inherited, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    said, _, took = done.stdout.rpartition("within ")
    return said.strip(), float(took)


def test_a_good_token_connects(server: RunningServer) -> None:
    assert connect(server.env)[0] == "connected to goat"


def test_a_bad_token_is_told_with_its_mend(server: RunningServer) -> None:
    said, took = connect({**server.env, "MODAL_TOKEN_SECRET": "as-planted"})
    assert "modal token new" in said
    assert "MODAL_TOKEN_ID" in said
    assert "as-planted" not in said
    assert took < 10


def test_no_token_is_told_with_its_mend(server: RunningServer) -> None:
    env = {name: value for name, value in server.env.items() if "TOKEN" not in name}
    said, _ = connect(env)
    assert "modal token new" in said


def test_a_missing_environment_is_told_with_its_mend(server: RunningServer) -> None:
    said, _ = connect(server.env, "nowhere")
    assert "no environment 'nowhere'" in said
    assert "python infra/setup.py --env nowhere" in said


def test_nobody_there_is_told_in_time(server: RunningServer) -> None:
    with closed_port() as port:
        said, took = connect({**server.env, "MODAL_SERVER_URL": f"http://127.0.0.1:{port}"}, seconds=1)
    assert f"127.0.0.1:{port} does not answer within 1 s" in said
    assert took < 5


def test_a_server_that_does_not_answer_is_told_in_time(server: RunningServer) -> None:
    server.fault("EnvironmentGetOrCreate", "hang", times=ALWAYS)
    try:
        said, took = connect(server.env, seconds=1)
    finally:
        server.clear_faults()
    assert "does not answer within 1 s" in said
    assert took < 5


def test_a_broken_profile_is_told(server: RunningServer, tmp_path: Path) -> None:
    config = tmp_path / "modal.toml"
    config.write_text(
        "[one]\ntoken_id = 'a'\ntoken_secret = 'b'\n[two]\ntoken_id = 'a'\ntoken_secret = 'b'\n"
    )
    said, _ = connect({"MODAL_SERVER_URL": server.url, "MODAL_CONFIG_PATH": str(config)})
    assert "No Modal profile is active" in said


def test_without_the_sdk_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "modal.py").write_text("raise ModuleNotFoundError('modal')")
    code = textwrap.dedent("""
        import asyncio, pytest_goat.cloud.client as client
        from pytest_goat.errors import UserError
        try:
            asyncio.run(client.connect("goat"))
        except UserError as error:
            print(error)
    """)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert "pip install 'pytest-goat[modal]'" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("environ", "profile", "answer"),
    [
        ({"MODAL_TOKEN_ID": "ak-1"}, None, True),
        ({}, None, False),
        ({}, "[default]\ntoken_id = 'ak-1'\n", True),
        ({}, "[default]\nenvironment = 'goat'\n", False),
        ({}, "no toml", False),
    ],
)
def test_configured(tmp_path: Path, environ: dict[str, str], profile: str | None, answer: bool) -> None:
    if profile is not None:
        (tmp_path / ".modal.toml").write_text(profile)
    assert configured({"HOME": str(tmp_path), **environ}) is answer
    at_home, elsewhere = tmp_path / ".modal.toml", tmp_path / "elsewhere.toml"
    if at_home.exists():
        at_home.rename(elsewhere)
        assert configured({"MODAL_CONFIG_PATH": str(elsewhere), **environ}) is answer


def test_asking_for_the_configuration_loads_no_sdk() -> None:
    code = "import sys, pytest_goat.cloud.client as c; c.configured(); print('modal' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


def test_within_says_what_took_too_long() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"waiting took longer than 0\.05 s"):
        asyncio.run(within(asyncio.sleep(60), 0.05, "waiting"))
    assert time.monotonic() - started < 5


def test_within_leaves_other_timeouts_alone() -> None:
    async def late() -> None:
        raise TimeoutError("another one")

    with pytest.raises(TimeoutError, match="another one"):
        asyncio.run(within(late(), 5, "waiting"))

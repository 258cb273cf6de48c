"""What Modal is asked for, and that nothing of it is left, however a sandbox, a run or a process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.sandbox.base import MB, SandboxLimits, SandboxSpec
from pytest_goat.sandbox.modal import ledger
from pytest_goat.sandbox.modal.backend import ModalBackend
from pytest_goat.sandbox.modal.ledger import cleanup
from pytest_goat.sandbox.modal.sandbox import Deadlines
from pytest_goat.task import Machine
from tests.sandbox.modal_bench import (
    ENVIRONMENT,
    RUN,
    Workplace,
    fresh,
    make_backend,
    needs_root,
    server_for_this_process,
    trial,
)
from tests.support.modal import ROOT, RunningServer

pytestmark = needs_root


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with server_for_this_process() as running:
        yield running


@pytest.fixture
def server(running_server: RunningServer) -> Iterator[RunningServer]:
    with fresh(running_server):
        yield running_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SETTLE", 0.2)


@pytest.fixture
def on_modal(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


# What Modal is asked for


def test_a_sandbox_is_bounded_and_known_by_its_tags(server: RunningServer, on_modal: Workplace) -> None:
    async def look(backend: ModalBackend) -> list[dict[str, Any]]:
        spec = SandboxSpec(
            "add-1",
            limits=SandboxLimits(memory=1024 * MB),
            hosts=("gateway.modal.run", "127.0.0.1"),
            machine=Machine(cpu=2.0),
            lifetime=400.5,
        )
        await backend.open(SandboxSpec("bare"))
        await backend.open(spec)
        return server.live()

    bare, asked = on_modal(look, worker="gw0")
    assert bare["app"] == "goat-sandbox"
    assert bare["environment"] == ENVIRONMENT
    assert bare["tags"] == {"goat-run": RUN, "goat-trial": "bare", "goat-worker": "gw0"}
    assert (bare["hosts"], bare["cidrs"]) == ([], [])
    assert (bare["cpu"], bare["memory"]) == ([0.25, 2.0], [256, 2304])
    assert (asked["hosts"], asked["cidrs"]) == (["gateway.modal.run"], ["127.0.0.1/32"])
    assert (asked["cpu"], asked["memory"]) == ([2.0, 2.0], [256, 1280])
    assert (asked["timeout"], asked["idle_timeout"]) == (461, 300)
    for row in (bare, asked):
        assert (row["name"], row["argv"], row["volumes"]) == ("", [], {})


def test_a_sandbox_with_a_gpu_is_used_and_ended_like_any_other(
    server: RunningServer, on_modal: Workplace
) -> None:
    async def use(backend: ModalBackend) -> tuple[bool, str, int]:
        sandbox = await backend.open(SandboxSpec("trial", machine=Machine(gpu="T4")))
        result = await sandbox.exec(["true"], timeout=20)
        return result.ok, server.live()[0]["gpu"], await backend.sweep()

    assert on_modal(use) == (True, "T4", 1)


def test_a_token_is_in_the_environment_of_its_command_alone(
    server: RunningServer, on_modal: Workplace
) -> None:
    async def use(backend: ModalBackend) -> list[bytes]:
        sandbox = await backend.open(SandboxSpec("trial"))
        show = ["sh", "-c", "cat /proc/[0-9]*/cmdline; env"]
        first = await sandbox.exec(show, timeout=20, env={"OPENAI_API_KEY": "planted-token"})
        second = await sandbox.exec(
            [*show[:2], "cat /proc/[0-9]*/cmdline; env; find / -xdev -user goat"], timeout=20
        )
        assert b"planted" not in str(server.live()).encode()
        return [first.stdout, second.stdout]

    first, second = on_modal(use)
    assert first.count(b"planted-token") == 1
    assert b"planted" not in second


# Nothing is left


def test_a_sandbox_that_could_not_be_ended_is_ended_later(server: RunningServer, on_modal: Workplace) -> None:
    async def leave(backend: ModalBackend) -> None:
        server.fault("SandboxTerminateV2", "unavailable", times=4)
        assert (await trial(backend)).ok
        assert len(server.live()) == 1

    on_modal(leave)


def test_sandboxes_of_which_nobody_was_told_are_ended(server: RunningServer, on_modal: Workplace) -> None:
    async def make_two(backend: ModalBackend) -> None:
        server.fault("SandboxCreateV2", "lost_reply")
        sandbox = await backend.open(SandboxSpec("trial"))
        assert len(server.live()) == 2
        await sandbox.close()
        assert len(server.live()) == 1

    server.set(idempotency=False)
    on_modal(make_two)


def test_an_end_that_hangs_holds_nothing_up(server: RunningServer, on_modal: Workplace) -> None:
    async def leave(backend: ModalBackend) -> float:
        server.fault("SandboxTerminateV2", "hang")
        sandbox = await backend.open(SandboxSpec("trial"))
        started = time.monotonic()
        await sandbox.close()
        return time.monotonic() - started

    assert on_modal(leave, deadlines=Deadlines(end=0.3)) < 2


def test_stop_ends_many_at_once(server: RunningServer, on_modal: Workplace) -> None:
    async def leave(backend: ModalBackend) -> None:
        await asyncio.gather(*(backend.open(SandboxSpec(f"trial-{number}")) for number in range(20)))
        assert len(server.live()) == 20

    on_modal(leave)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20, 100])
def test_a_cancelled_making_leaves_nothing(server: RunningServer, on_modal: Workplace, turns: int) -> None:
    async def cancel(backend: ModalBackend) -> None:
        opening = asyncio.create_task(backend.open(SandboxSpec("trial")))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        if opening.done():
            await opening.result().close()
            return
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    on_modal(cancel)


def test_other_runs_are_left_alone(server: RunningServer, on_modal: Workplace, tmp_path: Path) -> None:
    async def two_runs(backend: ModalBackend) -> tuple[int, int, int]:
        workers = [make_backend(tmp_path, worker=name) for name in ("gw0", "gw1")]
        other = make_backend(tmp_path, run_id="20260101-120000-ffff")
        for one in (*workers, other):
            await one.start()
            await one.open(SandboxSpec("trial"))
        of_worker = await backend.sweep("gw0")
        of_run = await backend.sweep()
        left = len(server.live())
        for one in (*workers, other):
            await one.stop()
        return of_worker, of_run, left

    assert on_modal(two_runs) == (1, 1, 1)


def test_cleanup_ends_what_runs_have_left(server: RunningServer, on_modal: Workplace, tmp_path: Path) -> None:
    async def clean(backend: ModalBackend) -> list[list[bool]]:
        new = make_backend(tmp_path, run_id=time.strftime("%Y%m%d-%H%M%S-abcd", time.gmtime()))
        await new.start()
        for one in (backend, new, new):
            await one.open(SandboxSpec("trial"))
        ended = [
            await cleanup(ENVIRONMENT, run_id="20250101-000000-0000"),
            await cleanup(ENVIRONMENT, older_than=3600),
            await cleanup(ENVIRONMENT),
        ]
        await new.stop()
        return [[leftover.run == RUN for leftover in found] for found in ended]

    assert on_modal(clean) == [[], [True], [False, False]]


LEAVING = """
import asyncio, os, sys, signal
from pathlib import Path
from pytest_goat.sandbox.base import SandboxSpec
from tests.sandbox.modal_bench import make_backend

async def main():
    backend = make_backend(Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: (backend.end_all(), os._exit(3)))
    await backend.start()
    for number in range(3):
        await backend.open(SandboxSpec(f"trial-{number}"))
    print("open", flush=True)
    if sys.argv[1] == "term":
        await asyncio.sleep(60)
    raise SystemExit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["exit", "term"])
def test_a_process_that_ends_takes_its_sandboxes_with_it(
    server: RunningServer, how: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LEAVING, how, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | server.env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        if how == "term":
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == (3 if how == "term" else 0)

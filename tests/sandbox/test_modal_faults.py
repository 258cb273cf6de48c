"""Every fault of Modal that was seen or can be thought of: each ends as it should, and no sandbox is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_goat.cloud import limiter
from pytest_goat.errors import Cause, SandboxError, UserError
from pytest_goat.sandbox.base import ExecResult, Mount, SandboxSpec
from pytest_goat.sandbox.modal import ledger
from pytest_goat.sandbox.modal.backend import ModalBackend
from pytest_goat.sandbox.modal.sandbox import Deadlines
from pytest_goat.task import Machine
from tests.modal_server.faults import ALWAYS
from tests.sandbox.modal_bench import Workplace, fresh, needs_root, server_for_this_process, trial
from tests.support.modal import RunningServer

pytestmark = needs_root

SHORT = Deadlines(create=0.5, start=0.5, answer=0.5, look=2.0, end=1.0)
"""For what hangs."""


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
    monkeypatch.setattr(limiter, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(limiter, "_LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(ledger, "SETTLE", 0.2)


@pytest.fixture
def on_modal(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


# Faults that the SDK mends


@pytest.mark.parametrize(
    ("rpc", "kind"),
    [
        ("SandboxCreateV2", "unavailable"),
        ("SandboxCreateV2", "reset"),
        ("SandboxCreateV2", "abort"),
        ("SandboxCreateV2", "lost_reply"),
        ("TaskExecStart", "unavailable"),
        ("TaskExecStart", "lost_reply"),
        ("TaskExecStdinWrite", "unavailable"),
        ("TaskExecStdinWrite", "lost_reply"),
        ("TaskExecStdioRead", "unavailable"),
        ("TaskExecStdioRead", "reset"),
        ("TaskExecStdioRead", "lost_reply"),
        ("TaskExecStdioRead", "abort"),
        ("SandboxTerminateV2", "unavailable"),
        ("AppGetOrCreate", "unavailable"),
    ],
)
def test_what_passes_is_not_noticed(server: RunningServer, on_modal: Workplace, rpc: str, kind: str) -> None:
    server.fault(rpc, kind)
    assert on_modal(trial).stdout == b"done\n"


# Faults of one sandbox: to be tried again in another


@pytest.mark.parametrize(
    ("rpc", "kind", "cause"),
    [
        ("SandboxCreateV2", "unavailable", Cause.SANDBOX_LOST),
        ("SandboxCreateV2", "internal", Cause.SANDBOX_LOST),
        ("SandboxCreateV2", "failed_precondition", Cause.SANDBOX_LOST),
        ("SandboxCreateV2", "hang", Cause.SANDBOX_LOST),
        ("TaskExecStart", "unavailable", Cause.SANDBOX_LOST),
        ("TaskExecStart", "not_found", Cause.SANDBOX_LOST),
        ("TaskExecStart", "resource_exhausted", Cause.SANDBOX_LIMIT),
        ("TaskExecStart", "hang", Cause.SANDBOX_LOST),
        ("TaskExecStdinWrite", "hang", Cause.SANDBOX_LOST),
        ("TaskExecStdioRead", "internal", Cause.SANDBOX_LOST),
        ("TaskExecStdioRead", "not_found", Cause.SANDBOX_LOST),
        ("TaskExecStdioRead", "hang", Cause.SANDBOX_LOST),
    ],
)
def test_a_lost_sandbox_is_an_error_in_time(
    server: RunningServer, on_modal: Workplace, rpc: str, kind: str, cause: Cause
) -> None:
    async def lost(backend: ModalBackend) -> SandboxError:
        try:
            sandbox = await backend.open(SandboxSpec("trial"))
        except SandboxError as error:
            return error
        with pytest.raises(SandboxError) as caught:
            await sandbox.exec(["true"], timeout=0.5)
        assert server.live() == []
        with pytest.raises(SandboxError, match="closed"):
            await sandbox.exec(["true"], timeout=0.5)
        return caught.value

    server.fault(rpc, kind, times=ALWAYS)
    started = time.monotonic()
    error = on_modal(lost, deadlines=SHORT)
    assert error.cause is cause
    assert str(error).startswith("modal: ")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("status", "cause", "words"),
    [
        ("MEMORY_MANAGER_EVICTION", Cause.SANDBOX_LOST, "out of memory"),
        ("INTERNAL_FAILURE", Cause.SANDBOX_LOST, "taken away"),
        ("TERMINATED", Cause.SANDBOX_LOST, "SandboxTerminated"),
        ("TIMEOUT", Cause.SANDBOX_LIMIT, "SandboxTimeout"),
    ],
)
def test_a_sandbox_that_ends_midway(
    server: RunningServer, on_modal: Workplace, status: str, cause: Cause, words: str
) -> None:
    async def ended(backend: ModalBackend) -> None:
        sandbox = await backend.open(SandboxSpec("trial"))
        command = asyncio.create_task(sandbox.exec(["sleep", "1000"], timeout=1000))
        while not server.calls().get("TaskExecStdioRead"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.ask, "kill", sandbox=server.live()[0]["id"], status=status)
        with pytest.raises(SandboxError, match=words) as caught:
            await command
        assert caught.value.cause is cause
        with pytest.raises(SandboxError, match="closed"):
            await sandbox.take()

    on_modal(ended)


def test_a_sandbox_that_ended_between_two_commands(server: RunningServer, on_modal: Workplace) -> None:
    async def ended(backend: ModalBackend) -> None:
        sandbox = await backend.open(SandboxSpec("trial"))
        assert (await sandbox.exec(["true"], timeout=20)).ok
        await asyncio.to_thread(server.ask, "kill", sandbox=server.live()[0]["id"])
        with pytest.raises(SandboxError) as caught:
            await sandbox.exec(["true"], timeout=20)
        assert caught.value.cause is Cause.SANDBOX_LOST

    on_modal(ended)


# Quotas


def test_a_used_up_quota_is_waited_for(server: RunningServer, on_modal: Workplace) -> None:
    server.fault("SandboxCreateV2", "resource_exhausted", times=2)
    assert on_modal(trial).ok
    assert server.calls()["SandboxCreateV2"] == 3


def test_what_modal_says_about_a_quota_is_heeded(server: RunningServer, on_modal: Workplace) -> None:
    server.fault("SandboxCreateV2", "resource_exhausted", retry_after=0.2)
    assert on_modal(trial).ok


def test_the_limit_of_sandboxes_is_waited_for(server: RunningServer, on_modal: Workplace) -> None:
    async def many(backend: ModalBackend) -> list[ExecResult]:
        return await asyncio.gather(*(trial(backend) for _ in range(6)))

    server.set(max_sandboxes=2)
    assert all(result.ok for result in on_modal(many))


def test_a_quota_that_stays_used_up_is_an_error(server: RunningServer, on_modal: Workplace) -> None:
    server.fault("SandboxCreateV2", "resource_exhausted", times=ALWAYS, message="rate limit (5/s) exceeded")
    with pytest.raises(UserError, match=r"rate limit \(5/s\) exceeded\n  Wait, or raise the limit"):
        on_modal(trial, patience=0.2)


# What no other sandbox would change


@pytest.mark.parametrize(
    ("kind", "mend"), [("unauthenticated", "modal token new"), ("permission_denied", "modal profile list")]
)
def test_what_is_not_allowed_is_told_once(
    server: RunningServer, on_modal: Workplace, kind: str, mend: str
) -> None:
    server.fault("SandboxCreateV2", kind, times=ALWAYS)
    with pytest.raises(UserError, match=mend):
        on_modal(trial)
    assert server.calls()["SandboxCreateV2"] == 1


def test_a_failed_build_is_told_with_its_words(server: RunningServer, on_modal: Workplace) -> None:
    async def build_twice(backend: ModalBackend) -> list[str]:
        said = []
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                await backend.open(SandboxSpec("trial", machine=Machine(setup="apt-get install nonsense")))
            said.append(str(caught.value))
        return said

    server.ask("fail_build", containing="nonsense", message="E: Unable to locate package nonsense")
    first, second = on_modal(build_twice)
    assert "Unable to locate package nonsense" in first
    assert first == second


def test_an_image_is_built_once(server: RunningServer, on_modal: Workplace) -> None:
    async def open_many(backend: ModalBackend) -> None:
        spec = SandboxSpec("trial", machine=Machine(image="python:3.12-slim", setup="echo one\necho two"))
        for sandbox in await asyncio.gather(*(backend.open(spec) for _ in range(4))):
            await sandbox.close()

    on_modal(open_many)
    commands = [line for image in server.ask("images") for line in image["commands"]]
    assert sum("printf %b" in line for line in commands) == 1


def test_another_process_takes_the_image_that_was_built(
    server: RunningServer, on_modal: Workplace, tmp_path: Path
) -> None:
    (tmp_path / "agent").write_text("#!/bin/sh\necho agent\n")
    (tmp_path / "agent").chmod(0o755)
    mounts = (Mount(str(tmp_path / "agent"), "/opt/goat/bin/agent"),)

    async def lead(backend: ModalBackend) -> dict[str, str]:
        return backend.handover()

    async def follow(backend: ModalBackend) -> bytes:
        sandbox = await backend.open(SandboxSpec("trial", mounts=mounts))
        result = await sandbox.exec(["/opt/goat/bin/agent"], timeout=20)
        await sandbox.close()
        return result.stdout

    handed = on_modal(lead, mounts=mounts)
    server.reset_calls()
    assert on_modal(follow, mounts=mounts, worker="gw0", **handed) == b"agent\n"
    assert "ImageGetOrCreate" not in server.calls()

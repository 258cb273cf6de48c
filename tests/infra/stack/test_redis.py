"""A real Redis in the Langfuse stack: when it alone dies, and when the whole container does."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import valkey

from tests.infra.stack.conftest import MakeStack
from tests.support.stack import ELSEWHERE, Stack, descendants
from tests.support.waiting import until

REDIS_ALONE = {name: value for name, value in ELSEWHERE.items() if not name.startswith("REDIS")} | {
    "DATABASE_URL": "postgresql://elsewhere.invalid/langfuse"
}


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    return make_stack(REDIS_ALONE).boot()


def redis(stack: Stack, *words: str) -> str:
    """What Redis answers to who has the address that Langfuse was given."""
    url = json.loads((stack.data / "server.env").read_text())["REDIS_CONNECTION_STRING"]
    with valkey.Valkey.from_url(url, decode_responses=True) as client:
        answer = client.execute_command(*words)
    return "" if answer is None else str(answer)


def server_of(stack: Stack) -> int:
    assert stack.process
    pids = descendants(stack.process.pid)
    (found,) = (pid for pid in pids if "redis-server" in Path(f"/proc/{pid}/cmdline").read_text())
    return found


def snapshots(stack: Stack) -> set[str]:
    """The names of the dumps that count."""
    manifests = stack.volume.glob("epochs/*/redis/*/manifest.json")
    return {name for path in manifests for name in json.loads(path.read_text())["files"]}


def test_a_killed_container_gets_its_last_snapshot_back(stack: Stack) -> None:
    first = snapshots(stack)
    redis(stack, "SET", "job", "waiting")
    until("a snapshot with the job", lambda: snapshots(stack) - first)
    stack.kill()
    stack.wipe()
    stack.boot()
    assert "redis is up, restored from 00000001-" in stack.log
    assert redis(stack, "GET", "job") == "waiting"


def test_a_clean_stop_keeps_what_was_written_last(make_stack: MakeStack) -> None:
    stack = make_stack(REDIS_ALONE).boot(GOAT_LANGFUSE_SNAPSHOT_SECONDS="3600")
    for turn in ("1", "2"):
        redis(stack, "INCR", "jobs")
        assert stack.stop() == 0
        stack.wipe()
        stack.boot(GOAT_LANGFUSE_SNAPSHOT_SECONDS="3600")
        assert redis(stack, "GET", "jobs") == turn


def test_an_idle_redis_is_not_snapshotted_again(stack: Stack) -> None:
    first = snapshots(stack)
    redis(stack, "SET", "job", "waiting")
    until("a snapshot with the job", lambda: snapshots(stack) != first)
    assert len(snapshots(stack)) == 1, "a dump replaces the one before"
    second = snapshots(stack)
    assert stack.stop() == 0
    assert snapshots(stack) == second


def test_redis_alone_is_started_again_with_what_it_had(stack: Stack) -> None:
    redis(stack, "CONFIG", "SET", "appendfsync", "always")
    redis(stack, "SET", "job", "waiting")
    os.kill(server_of(stack), signal.SIGKILL)
    stack.wait_for("redis has died: starting it again (1 of 3)")
    until("Redis", lambda: "Ready to accept connections" in stack.log.partition("has died")[2])
    assert redis(stack, "GET", "job") == "waiting"


def test_a_part_that_keeps_dying_ends_the_stack(stack: Stack) -> None:
    for count in (1, 2, 3):
        os.kill(server_of(stack), signal.SIGKILL)
        stack.wait_for(f"redis has died: starting it again ({count} of 3)")
        until("Redis", lambda: stack.log.count("Ready to accept connections") == count + 1)  # noqa: B023
    os.kill(server_of(stack), signal.SIGKILL)
    assert stack.ended() == 1
    assert "redis has died 4 times within 600 s: giving up" in stack.log


def test_only_who_has_the_password_gets_in(stack: Stack) -> None:
    url = json.loads((stack.data / "server.env").read_text())["REDIS_CONNECTION_STRING"]
    port = url.rpartition(":")[2]
    assert "NOAUTH" in stack.tool(["redis-cli", "-p", port, "GET", "job"], "")

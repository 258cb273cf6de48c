"""The whole Langfuse stack: Postgres and Redis are real, the others stand in for what cannot be had here."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.infra.stack.conftest import MakeStack
from tests.support.stack import ELSEWHERE, Stack, descendants
from tests.support.waiting import until

ALL_ELSEWHERE = ELSEWHERE | {"DATABASE_URL": "postgresql://elsewhere.invalid/langfuse"}
TRACES_AND_OBJECTS = {
    "DATABASE_URL": "postgresql://elsewhere.invalid/langfuse",
    "REDIS_CONNECTION_STRING": "redis://elsewhere.invalid",
}


def environment(stack: Stack, program: str = "server") -> dict[str, str]:
    """What a program of Langfuse was given: `server` is the web server, `index` the worker."""
    given: dict[str, str] = json.loads((stack.data / f"{program}.env").read_text())
    return given


def traces(stack: Stack, sql: str) -> list[str]:
    request = urllib.request.Request(environment(stack)["CLICKHOUSE_URL"], data=sql.encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
        return text.split()


def put_object(stack: Stack, key: str, data: str) -> None:
    url = f"{environment(stack)['LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT']}/langfuse/{key}"
    request = urllib.request.Request(url, data=data.encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def get_object(stack: Stack, key: str) -> str:
    url = f"{environment(stack)['LANGFUSE_S3_EVENT_UPLOAD_ENDPOINT']}/langfuse/{key}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def kept(stack: Stack, store: str) -> list[str]:
    """The files of the newest generation of the newest epoch, by its manifest."""
    manifest = max(stack.volume.glob(f"epochs/*/{store}/*/manifest.json"))
    return list(json.loads(manifest.read_text())["files"])


def process(stack: Stack, words: str) -> int:
    assert stack.process
    pids = descendants(stack.process.pid)
    (found,) = (pid for pid in pids if words in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
    return found


def test_stores_are_up_before_langfuse_and_migrations_before_its_programs(make_stack: MakeStack) -> None:
    stack = make_stack({}).boot()
    assert stack.get("/") == "ok"
    ups = [line for line in stack.log.splitlines() if line.startswith("goat_stack: ") and " is up" in line]
    order = [line.split()[1] for line in ups]
    assert order == ["postgres", "redis", "minio", "clickhouse", "langfuse-web", "langfuse-worker"]
    started = [line.split()[:2] for line in (stack.data / "started").read_text().splitlines()]
    assert started == [
        ["minio", "server"],
        ["clickhouse", "server"],
        ["prisma", "db"],
        ["prisma", "migrate"],
        ["up.sh"],
        ["node", "./web/server.js"],
        ["node", "worker/dist/index.js"],
    ]
    assert stack.stop() == 0
    stops = [line.split()[1] for line in stack.log.splitlines() if line.endswith(" is stopped")]
    assert set(stops[:2]) == {"langfuse-web", "langfuse-worker"}
    assert sorted(stops) == sorted(order)


def test_langfuse_is_told_where_its_stores_are_and_nothing_it_need_not_know(make_stack: MakeStack) -> None:
    stack = make_stack({"MODAL_TOKEN_SECRET": "planted", "LANGFUSE_INIT_ORG_ID": "goat"}).boot()
    web, worker = environment(stack, "server"), environment(stack, "index")
    assert web["DIRECT_URL"] == web["DATABASE_URL"]
    assert stack.tool(["psql", web["DATABASE_URL"], "-XqAt"], "SELECT 1") == "1"
    assert (
        stack.tool(["redis-cli", "--no-auth-warning", "-u", web["REDIS_CONNECTION_STRING"], "PING"], "")
        == "PONG"
    )
    assert web["LANGFUSE_INIT_ORG_ID"] == "goat"
    assert web["PORT"] == str(stack.port)
    assert worker["HOSTNAME"] == "127.0.0.1"
    assert {"MODAL_TOKEN_SECRET", "POSTGRES_PASSWORD"}.isdisjoint(web | worker)
    same = ("DATABASE_URL", "REDIS_CONNECTION_STRING", "CLICKHOUSE_URL", "CLICKHOUSE_PASSWORD", "SALT")
    assert [web[name] for name in same] == [worker[name] for name in same]


def test_a_store_that_is_given_by_url_is_not_started(make_stack: MakeStack) -> None:
    stack = make_stack(ALL_ELSEWHERE).boot()
    assert stack.process
    assert len(descendants(stack.process.pid)) == 2, "the two programs of Langfuse"
    web = environment(stack)
    assert {name: web[name] for name in ALL_ELSEWHERE} == ALL_ELSEWHERE
    assert stack.stop() == 0


def test_traces_and_objects_of_a_killed_container_come_back(make_stack: MakeStack) -> None:
    stack = make_stack(TRACES_AND_OBJECTS).boot()
    for number in ("1", "2"):
        traces(stack, f"INSERT trace-{number}")
        put_object(stack, f"event/{number}.json", f"event {number}")
        until("traces", lambda: any(name.endswith(f"{number}.zip") for name in kept(stack, "clickhouse")))  # noqa: B023
        until("objects", lambda: any(name.endswith(f"{number}.tar.gz") for name in kept(stack, "minio")))  # noqa: B023
    assert kept(stack, "clickhouse") == ["full-00000000.zip", "changes-00000002.zip"]
    assert len(kept(stack, "minio")) == 3
    stack.kill()
    stack.wipe()
    stack.boot()
    assert traces(stack, "SELECT all") == ["trace-1", "trace-2"]
    assert [get_object(stack, f"event/{number}.json") for number in (1, 2)] == ["event 1", "event 2"]


def test_a_clean_stop_keeps_the_last_trace_and_object(make_stack: MakeStack) -> None:
    stack = make_stack(TRACES_AND_OBJECTS).boot(GOAT_LANGFUSE_SNAPSHOT_SECONDS="3600")
    traces(stack, "INSERT last")
    put_object(stack, "event/last.json", "last")
    assert stack.stop() == 0
    stack.wipe()
    stack.boot()
    assert traces(stack, "SELECT all") == ["last"]
    assert get_object(stack, "event/last.json") == "last"


def test_a_snapshot_that_could_not_be_kept_is_made_good_by_the_next(make_stack: MakeStack) -> None:
    stack = make_stack(TRACES_AND_OBJECTS).boot()
    (epoch,) = stack.volume.glob("epochs/*")
    (epoch / "minio").rename(epoch / "minio.away")
    (epoch / "minio").write_text("")
    put_object(stack, "event/1.json", "event 1")
    stack.wait_for("no snapshot of minio")
    (epoch / "minio").unlink()
    (epoch / "minio.away").rename(epoch / "minio")
    until("a new full snapshot", lambda: (epoch / "minio" / "000002" / "manifest.json").exists())
    stack.kill()
    stack.wipe()
    assert get_object(stack.boot(), "event/1.json") == "event 1"


def test_a_program_that_dies_is_started_again(make_stack: MakeStack) -> None:
    stack = make_stack(ALL_ELSEWHERE).boot()
    os.kill(process(stack, "worker/dist/index.js"), signal.SIGKILL)
    stack.wait_for("langfuse-worker has died: starting it again (1 of 3)")
    until("the worker", lambda: (stack.data / "started").read_text().count("index.js") == 2)
    assert stack.get("/") == "ok"


def test_a_migration_that_fails_is_said_and_ends_the_stack(make_stack: MakeStack) -> None:
    stack = make_stack(ALL_ELSEWHERE)
    (stack.home / "prisma.broken").write_text("P1001: the database cannot be reached")
    assert stack.start().ended() == 1
    assert "prisma failed: P1001: the database cannot be reached" in stack.log


def test_a_store_that_does_not_start_is_named(make_stack: MakeStack) -> None:
    stack = make_stack(TRACES_AND_OBJECTS)
    (stack.home / "clickhouse.broken").write_text("Code: 76. Cannot open file")
    assert stack.start().ended() == 1
    assert "Code: 76. Cannot open file" in stack.log
    assert "clickhouse ended during its start" in stack.log
    assert not stack.data.joinpath("server.env").exists(), "Langfuse is not started"


def test_a_program_that_never_answers_ends_the_stack_in_time(make_stack: MakeStack) -> None:
    stack = make_stack(ALL_ELSEWHERE)
    (stack.home / "bin" / "node").write_text("#!/bin/sh\nexec sleep 60\n")
    assert stack.start(GOAT_LANGFUSE_START_SECONDS="1").ended() == 1
    assert "langfuse-web did not answer within 1 s of its start" in stack.log


def test_a_stop_during_the_start_is_obeyed(make_stack: MakeStack) -> None:
    stack = make_stack(ALL_ELSEWHERE)
    (stack.home / "bin" / "node").write_text('#!/bin/sh\necho >"$HOME/asleep"\nexec sleep 60\n')
    stack.start()
    until("the web server", (stack.data / "asleep").exists)
    assert stack.stop() == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"SALT": "", "POSTGRES_PASSWORD": ""},
            "SALT, POSTGRES_PASSWORD must be set: `python infra/setup.py`",
        ),
        ({"GOAT_LANGFUSE_DATA": "/tmp/" + "x" * 90}, "GOAT_LANGFUSE_DATA is too long, at most 80 bytes"),
        ({"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY must be 64 hex digits"),
        (
            {"GOAT_LANGFUSE_ARCHIVE_SECONDS": "soon"},
            "GOAT_LANGFUSE_ARCHIVE_SECONDS must be a whole number above 0",
        ),
    ],
)
def test_what_is_wrong_in_the_environment_is_said(
    make_stack: MakeStack, given: dict[str, str], words: str
) -> None:
    stack = make_stack(given)
    assert stack.start().ended() == 1
    assert words in stack.log
    assert "Traceback" not in stack.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_no_part_runs_as_root(make_stack: MakeStack) -> None:
    stack = make_stack({}).boot()
    assert stack.process
    owners = {Path(f"/proc/{pid}").owner() for pid in descendants(stack.process.pid)}
    assert owners == {"nobody"}

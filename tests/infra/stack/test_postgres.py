"""A real Postgres in the Langfuse stack: what it loses, and what it does not, whatever happens to it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.infra.stack.conftest import MakeStack
from tests.support.stack import PASSWORD, Stack, descendants, owner, psql
from tests.support.waiting import until

PROMISE = 60.0
"""Seconds of committed work that a killed container may lose, with the stack's own intervals."""
ARCHIVE_SECONDS = 1.0
"""The tests' interval; the loss is measured against it."""
SLACK = 10.0
"""Seconds that a busy machine may add."""


class Writer:
    """Commits rows 1, 2, 3... one by one, in one session, and knows when each was acknowledged."""

    def __init__(self, stack: Stack, first: int = 1) -> None:
        self.acknowledged: dict[int, float] = {}
        self._first = first
        self._session = subprocess.Popen(
            psql(stack.data), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=owner()
        )
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        session = self._session
        assert session.stdin
        assert session.stdout
        number = self._first
        try:
            while True:
                session.stdin.write(f"INSERT INTO rows VALUES ({number}) RETURNING id;\n")
                session.stdin.flush()
                if not (line := session.stdout.readline()):
                    return
                self.acknowledged[int(line)] = time.monotonic()
                number += 1
        except BrokenPipeError:
            return

    def end(self) -> None:
        """Wait for the session, which ends with its server."""
        self._thread.join()
        assert self._session.stdin
        assert self._session.stdout
        with suppress(BrokenPipeError):
            self._session.stdin.close()
        self._session.stdout.close()
        self._session.wait()


@contextmanager
def killed_in_the_middle(stack: Stack, first: int = 1) -> Iterator[Writer]:
    """Kill the stack while rows are written: the block says when, on its end."""
    writer = Writer(stack, first)
    try:
        yield writer
    finally:
        stack.kill()
        writer.end()


def rows(stack: Stack) -> list[int]:
    return [int(line) for line in stack.sql("SELECT id FROM rows ORDER BY id").split()]


def with_rows(stack: Stack, *numbers: int) -> None:
    stack.sql("CREATE TABLE IF NOT EXISTS rows (id int PRIMARY KEY)")
    for number in numbers:
        stack.sql(f"INSERT INTO rows VALUES ({number})")


def refuse_archiving(epoch: Path) -> Callable[[], None]:
    """Make the volume refuse segments; the function that is returned mends it."""
    wal = epoch / "wal"
    wal.rename(epoch / "wal.away")
    wal.write_text("")

    def mend() -> None:
        wal.unlink()
        (epoch / "wal.away").rename(wal)

    return mend


def newest_epoch(stack: Stack) -> Path:
    return max((stack.cloud or stack.volume).glob("epochs/*"))


def test_a_killed_stack_loses_at_most_what_was_not_archived(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack)
    with killed_in_the_middle(stack) as writer:
        until("rows", lambda: len(writer.acknowledged) > 50)
        archived = max(writer.acknowledged)
        stack.archived()
        until("more rows", lambda: len(writer.acknowledged) > archived + 50)
    killed = time.monotonic()
    stack.wipe()
    stack.boot()
    kept = rows(stack)
    assert kept == list(range(1, len(kept) + 1)), "rows in between are lost"
    assert len(kept) >= archived
    lost = killed - writer.acknowledged[len(kept)]
    assert lost < ARCHIVE_SECONDS + SLACK < PROMISE


def test_what_is_not_closed_by_hand_is_archived_in_time(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    segment = stack.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    asked = time.monotonic()
    until(
        "the segment",
        lambda: (newest_epoch(stack) / "wal" / f"{segment}.gz").exists(),
        ARCHIVE_SECONDS + SLACK,
    )
    stack.kill()
    stack.wipe()
    assert time.monotonic() - asked < PROMISE
    assert rows(stack.boot()) == [1]


def test_a_second_crash_is_survived_like_the_first(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack)
    written = 0
    for _ in range(2):
        with killed_in_the_middle(stack, written + 1) as writer:
            until("rows", lambda: len(writer.acknowledged) > 20)
            archived = max(writer.acknowledged)
            stack.archived()
        stack.wipe()
        kept = rows(stack.boot())
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) >= archived
        written = len(kept)


def test_a_clean_stop_loses_nothing(make_stack: MakeStack) -> None:
    # An archive interval that never comes: what is there after the stop, the stop itself has archived.
    stack = make_stack().boot(GOAT_LANGFUSE_ARCHIVE_SECONDS="3600")
    with_rows(stack, 1, 2, 3)
    asked = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - asked < 20, "Modal kills what does not stop in time"
    stack.wipe()
    assert rows(stack.boot()) == [1, 2, 3]


def test_what_was_committed_to_the_volume_is_enough(make_stack: MakeStack) -> None:
    first = make_stack(volume="view", cloud="cloud").boot()
    with_rows(first, 1, 2)
    first.archived()
    first.kill()
    second = make_stack(volume="another-view", cloud="cloud").boot()
    assert rows(second) == [1, 2]


def test_of_two_stacks_on_one_volume_the_older_stops_and_the_newer_is_whole(make_stack: MakeStack) -> None:
    older = make_stack(volume="view", cloud="cloud").boot()
    with_rows(older, 1)
    older.archived()
    newer = make_stack(volume="another-view", cloud="cloud").boot()
    assert older.ended() == 3
    assert "a newer stack, epoch 00000002-" in older.log
    assert "Run only one (max_containers=1)" in older.log
    with_rows(newer, 2, 3)
    assert newer.stop() == 0
    third = make_stack(volume="third-view", cloud="cloud").boot()
    assert rows(third) == [1, 2, 3]


def test_the_older_stack_archives_nothing_once_the_newer_one_is_there(make_stack: MakeStack) -> None:
    older = make_stack().boot()
    with_rows(older, 1)
    older.archived()
    (epoch,) = older.volume.glob("epochs/*")
    newer = epoch.with_name("00000002-00000000")
    newer.mkdir()
    (newer / "epoch.json").write_text("{}")
    segments = sorted(path.name for path in epoch.glob("wal/*"))
    older.ended()
    assert sorted(path.name for path in epoch.glob("wal/*")) == segments
    assert list(newer.iterdir()) == [newer / "epoch.json"]


def test_stale_files_of_an_ended_server_do_not_matter(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    stack.archived()
    stack.kill()
    pid_file = stack.data / "postgres" / "postmaster.pid"
    assert pid_file.exists()
    pid_file.write_text(
        pid_file.read_text().replace(pid_file.read_text().splitlines()[0], str(os.getpid()), 1)
    )
    assert rows(stack.boot()) == [1]


def test_a_second_stack_on_the_same_disk_is_refused(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    second = make_stack()
    second.env["GOAT_LANGFUSE_DATA"] = str(stack.data)
    assert second.start().ended() == 1
    assert f"another stack, or a process that it left, uses {stack.data}" in second.log
    assert rows(stack) == [1]
    assert len(list(stack.volume.glob("epochs/*"))) == 1, "the refused one has claimed nothing"


def test_a_process_that_a_killed_stack_left_is_noticed(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    assert stack.process
    children = descendants(stack.process.pid)
    stack.process.kill()
    stack.process.wait()
    assert stack.start().ended() == 1
    assert "another stack, or a process that it left" in stack.log
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def test_a_damaged_base_backup_is_passed_over_for_the_one_before(make_stack: MakeStack) -> None:
    stack = make_stack().boot(GOAT_LANGFUSE_BASE_SECONDS="1")
    with_rows(stack, 1)
    epoch = newest_epoch(stack)
    until("a third base backup", lambda: (epoch / "postgres" / "000003" / "manifest.json").exists())
    with_rows(stack, 2)
    stack.archived()
    stack.kill()
    newest, *_ = sorted((path.parent for path in epoch.glob("postgres/*/manifest.json")), reverse=True)
    base = next(newest.glob("base-*"))
    base.write_bytes(base.read_bytes()[:-100])
    stack.wipe()
    stack.boot()
    assert f"{newest.relative_to(stack.volume)} is damaged" in stack.log
    assert rows(stack) == [1, 2]


def test_old_base_backups_and_their_segments_are_dropped(make_stack: MakeStack) -> None:
    stack = make_stack().boot(GOAT_LANGFUSE_BASE_SECONDS="1")
    epoch = newest_epoch(stack)
    first = min(path.name for path in epoch.glob("wal/0*.gz"))
    until("the end of the first base backup", lambda: not (epoch / "postgres" / "000001").exists())
    until("the end of its segments", lambda: not (epoch / "wal" / first).exists())


def test_where_no_base_backup_is_whole_nothing_is_begun_anew(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    stack.kill()
    (base,) = newest_epoch(stack).glob("postgres/*/base-*")
    base.write_bytes(b"not a backup")
    assert stack.start().ended() == 1
    assert "none of the 1 backups of postgres on the volume is whole" in stack.log


def test_a_damaged_segment_ends_the_recovery_there_and_says_so(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    stack.archived()
    segment = stack.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    with_rows(stack, 2)
    stack.archived()
    stack.kill()
    damaged = newest_epoch(stack) / "wal" / f"{segment}.gz"
    damaged.write_bytes(damaged.read_bytes()[:50])
    stack.boot()
    assert f"segment {segment} is damaged" in stack.log
    assert rows(stack) == [1]


def test_a_volume_that_refuses_loses_nothing_once_it_is_mended(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    stack.archived()
    mend = refuse_archiving(newest_epoch(stack))
    with_rows(stack, 2)
    segment = stack.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    stack.sql("SELECT pg_switch_wal()")
    stack.wait_for("a segment of the write-ahead log was not carried")
    with_rows(stack, 3)
    mend()
    until("the refused segment", lambda: (newest_epoch(stack) / "wal" / f"{segment}.gz").exists(), 90)
    stack.archived()
    stack.kill()
    stack.wipe()
    assert rows(stack.boot()) == [1, 2, 3]


def test_a_stop_that_cannot_archive_says_so(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    with_rows(stack, 1)
    stack.archived()
    refuse_archiving(newest_epoch(stack))
    with_rows(stack, 2)
    assert stack.stop() == 1
    assert "segments of Postgres's log could not be archived" in stack.log


def test_a_full_volume_is_said_and_nothing_is_torn(small_volume: Path, make_stack: MakeStack) -> None:
    stack = make_stack(volume=small_volume.name).boot()
    with_rows(stack, 1)
    stack.archived()
    filler = small_volume / "filler"
    fill(filler)
    stack.sql("INSERT INTO rows SELECT generate_series(2, 200000)")
    stack.wait_for("no room left")
    for archived in newest_epoch(stack).glob("wal/*.gz"):
        gzip.decompress(archived.read_bytes())
    filler.unlink()
    stack.archived()
    stack.kill()
    stack.wipe()
    assert len(rows(stack.boot())) == 200_000


def fill(file: Path) -> None:
    """Write until there is no more room."""
    room = shutil.disk_usage(file.parent).free
    file.write_bytes(bytes(room))
    assert shutil.disk_usage(file.parent).free == 0


def test_a_stack_that_cannot_keep_its_first_backup_does_not_begin(
    make_stack: MakeStack, small_volume: Path
) -> None:
    stack = make_stack(volume=small_volume.name)
    fill(small_volume / "filler")
    assert stack.start().ended() == 1
    assert "no room left" in stack.log
    assert "langfuse-web" not in stack.log
    (small_volume / "filler").unlink()
    stack.boot()


def test_the_password_is_the_one_of_today(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    assert stack.stop() == 0
    stack.boot(POSTGRES_PASSWORD="another")
    url = json.loads((stack.data / "server.env").read_text())["DATABASE_URL"]
    assert ":another@127.0.0.1:" in url
    assert stack.tool(["psql", url, "-XqAt"], "SELECT 'in'") == "in"
    with pytest.raises(subprocess.CalledProcessError):
        stack.tool(["psql", url.replace(":another@", ":wrong@"), "-XqAt"], "SELECT 'in'")


def test_secrets_are_on_no_command_line_in_no_log_and_not_on_the_volume(make_stack: MakeStack) -> None:
    stack = make_stack().boot()
    assert stack.process
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(stack.process.pid)]
    assert len(lines) > 3
    env = json.loads((stack.data / "server.env").read_text())
    planted = [
        PASSWORD,
        *(env[name] for name in ("SALT", "NEXTAUTH_SECRET", "ENCRYPTION_KEY", "DATABASE_URL")),
    ]
    stack.stop()
    kept = [path.read_bytes() for path in stack.volume.rglob("*") if path.is_file()]
    seen = b"\n".join([*lines, stack.log.encode(), (stack.data / "started").read_bytes()])
    for secret in planted:
        assert secret.encode() not in seen
        for data in kept:
            assert secret.encode() not in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    assert "POSTGRES_PASSWORD" not in env

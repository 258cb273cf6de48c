"""What every backend must do. Subclass `SandboxConformance` in a test and say how the backend is made."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_goat.errors import SandboxError, UserError
from pytest_goat.sandbox.base import Backend, ExecResult, File, Mount, Sandbox, SandboxLimits, SandboxSpec

T = TypeVar("T")


class Bench:
    """A started backend and the event loop that it lives in."""

    def __init__(self, runner: asyncio.Runner, backend: Backend) -> None:
        self.runner, self.backend = runner, backend

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @contextlib.contextmanager
    def box(self, **spec: Any) -> Iterator[Box]:
        """A sandbox that is closed at the end."""
        sandbox = self.run(self.backend.open(SandboxSpec("trial", **spec)))
        try:
            yield Box(self, sandbox)
        finally:
            self.run(sandbox.close())


class Box:
    """A sandbox, without `await`."""

    def __init__(self, bench: Bench, sandbox: Sandbox) -> None:
        self.bench, self.sandbox = bench, sandbox

    def exec(self, *argv: str, timeout: float = 30, **options: Any) -> ExecResult:
        return self.bench.run(self.sandbox.exec(argv, timeout=timeout, **options))

    def sh(self, script: str, timeout: float = 30, **options: Any) -> ExecResult:
        return self.exec("sh", "-c", script, timeout=timeout, **options)

    def put(self, files: Mapping[str, File | None], root: str | None = None) -> None:
        self.bench.run(self.sandbox.put(files, root))

    def take(self, *paths: str, root: str | None = None, **bounds: int) -> Any:
        return self.bench.run(self.sandbox.take(paths or None, root, **bounds))

    def text(self, path: str) -> str:
        return str(self.take(path).files[path].data.decode())


class WithBackend:
    """Base of test classes that work on one started backend."""

    @classmethod
    def make_backend(cls) -> Backend:
        """A backend that is not started yet. Starting it may raise `UserError`: then all is skipped."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls) -> Iterator[Bench]:
        with asyncio.Runner() as runner:
            backend = cls.make_backend()
            try:
                runner.run(backend.start())
            except UserError as error:
                pytest.skip(str(error))
            try:
                yield Bench(runner, backend)
            finally:
                runner.run(backend.stop())

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """A folder of the host that every user may enter; pytest's own is closed to all but one."""
        with tempfile.TemporaryDirectory() as name:
            path = Path(name)
            path.chmod(0o755)
            yield path

    @pytest.fixture
    def box(self, bench: Bench) -> Iterator[Box]:
        with bench.box() as box:
            yield box


class SandboxConformance(WithBackend):
    """The promises of `pytest_goat.sandbox.base`."""

    # exec

    def test_streams_and_exit_code_are_told_apart(self, box: Box) -> None:
        result = box.sh("echo out; echo err >&2; exit 3")
        assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 3)
        assert (result.ok, result.timed_out, result.limit, result.truncated) == (False, False, "", False)
        assert result.duration > 0

    def test_commands_take_turns(self, bench: Bench, box: Box) -> None:
        async def two() -> list[ExecResult]:
            script = "test ! -e busy && touch busy && sleep 0.05 && rm busy"
            return await asyncio.gather(
                *(box.sandbox.exec(["sh", "-c", script], timeout=30) for _ in range(2))
            )

        assert [result.exit_code for result in bench.run(two())] == [0, 0]

    def test_an_argument_that_cannot_be_is_126(self, box: Box) -> None:
        assert box.exec("echo", "a\0b").exit_code == 126
        assert box.exec("echo", "x" * 3_000_000).exit_code == 126

    def test_a_signal_is_a_negative_exit_code(self, box: Box) -> None:
        assert box.sh("kill -TERM $$").exit_code == -15

    def test_stdin_arrives_whole(self, box: Box) -> None:
        data = bytes(range(256)) * 2048
        assert box.exec("cat", stdin=data).stdout == data

    def test_stdin_that_nobody_reads_holds_nothing_up(self, box: Box) -> None:
        assert box.exec("true", stdin=b"x" * 300_000).ok

    def test_a_program_that_is_not_there_is_127(self, box: Box) -> None:
        result = box.exec("no-such-program")
        assert result.exit_code == 127
        assert b"no-such-program" in result.stderr

    def test_a_file_that_cannot_be_run_is_126(self, box: Box) -> None:
        box.put({"data.txt": File(b"words")})
        assert box.exec("./data.txt").exit_code == 126

    def test_more_time_is_given_as_long_as_there_is_more(self, box: Box) -> None:
        given = iter([0.6, 1.2, 1.2])

        async def extra() -> float:
            return next(given, 1.2)

        result = box.sh("sleep 1; echo done", timeout=0.2, extra=extra)
        assert (result.stdout, result.timed_out, result.exit_code) == (b"done\n", False, 0)

    def test_without_more_time_a_command_ends_in_its_own(self, box: Box) -> None:
        async def extra() -> float:
            return 0.0

        result = box.sh("sleep 30 & sleep 30", timeout=0.3, extra=extra)
        assert (result.timed_out, result.exit_code) == (True, -9)
        assert result.duration < 10
        assert box.sh("echo on", extra=extra).stdout == b"on\n"

    def test_arguments_are_no_shell(self, box: Box) -> None:
        result = box.exec("printf", "%s|", "a b", "$HOME", "*", "", "\u00fc\U0001f410")
        assert result.stdout.decode() == "a b|$HOME|*||\u00fc\U0001f410|"

    def test_the_working_directory_is_the_workspace(self, box: Box) -> None:
        assert box.exec("pwd").stdout.decode().strip() == box.sandbox.workdir
        box.sh("mkdir sub")
        inner = f"{box.sandbox.workdir}/sub"
        assert box.exec("pwd", cwd=inner).stdout.decode().strip() == inner

    def test_the_environment_is_the_given_one_and_four_more(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOAT_TEST_SECRET", "s3cret")
        seen = dict(
            line.split("=", 1)
            for line in box.exec("env", env={"EVAL_MODEL": "m"}).stdout.decode().splitlines()
        )
        assert seen.pop("EVAL_MODEL") == "m"
        assert {"PATH", "HOME", "TMPDIR", "LANG"} <= seen.keys()
        assert "s3cret" not in seen.values()

    def test_python_is_there(self, box: Box) -> None:
        assert box.exec("python3", "-c", "print(6 * 7)").stdout == b"42\n"

    def test_what_a_command_leaves_running_is_dead_when_exec_returns(self, box: Box) -> None:
        # The daemon ignores the polite signals and holds none of the streams.
        daemon = "trap '' TERM HUP; while :; do echo x >> alive; sleep 0.01; done"
        box.sh(f'setsid sh -c "{daemon}" < /dev/null > /dev/null 2>&1 & until test -s alive; do :; done')
        before = box.text("alive")
        box.exec("sleep", "0.1")
        assert box.text("alive") == before

    def test_exec_does_not_wait_for_a_daemon_that_holds_the_streams(self, box: Box) -> None:
        result = box.sh("sleep 1000 & echo done")
        assert result.stdout == b"done\n"
        assert result.duration < 20

    def test_a_timeout_ends_the_whole_tree(self, box: Box) -> None:
        result = box.sh("echo begun; sleep 1000 & sleep 1000", timeout=0.5)
        assert (result.exit_code, result.timed_out, result.limit) == (-9, True, "")
        assert result.stdout == b"begun\n"
        assert box.exec("true").ok

    def test_output_is_cut_at_its_bound(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(output=1000)) as box:
            result = box.sh("yes | head -c 1000000; echo end >&2")
        assert (len(result.stdout), result.stderr, result.truncated) == (1000, b"end\n", True)
        assert result.ok

    # what survives

    def test_only_workspace_and_records_survive_a_command(self, box: Box) -> None:
        outdir = box.sandbox.outdir
        box.sh(f"touch kept {outdir}/kept $HOME/.profile $TMPDIR/junk; mkdir $HOME/bin; chmod 0 $TMPDIR")
        result = box.sh(f"ls kept {outdir}/kept && ls -A $HOME $TMPDIR && touch $TMPDIR/new")
        assert result.ok, result.stderr
        assert b".profile" not in result.stdout
        assert b"junk" not in result.stdout
        assert b"bin" not in result.stdout

    # put and take

    def test_files_go_in_and_come_out(self, box: Box) -> None:
        files = {
            "a.txt": File(b"one"),
            "deep/er/b.bin": File(bytes(range(256)) * 5000),
            "run.sh": File(b"#!/bin/sh\necho ran\n", executable=True),
            "empty": File(b""),
            "odd name\n\u00fc": File(b"odd"),
        }
        box.put(files)
        assert box.exec("./run.sh").stdout == b"ran\n"
        taken = box.take()
        assert taken.files == files
        assert (taken.refused, taken.truncated) == ((), False)

    def test_put_replaces_what_is_in_the_way(self, box: Box) -> None:
        box.sh(
            "mkdir folder; touch folder/x; ln -s /etc/passwd link; ln -s /etc linked; touch file; mkfifo pipe"
        )
        new = {name: File(b"new") for name in ("folder", "link", "linked/passwd", "file/inner", "pipe")}
        box.put(new)
        taken = box.take()
        assert taken.files == new
        assert not taken.refused

    def test_put_none_removes(self, box: Box) -> None:
        box.sh("mkdir -p folder/sub; touch folder/sub/x file; ln -s / link")
        box.put({"folder": None, "file": None, "link": None, "missing/too": None})
        assert box.sh("ls -A").stdout == b""

    def test_put_works_where_a_command_took_the_rights_away(self, box: Box) -> None:
        box.sh("mkdir -p locked/in; touch locked/in/x; chmod 0 locked/in locked")
        box.put({"locked/in/x": File(b"new")})
        assert box.text("locked/in/x") == "new"

    @pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "", ".", "a\0b"])
    def test_a_path_that_leads_out_is_refused(self, box: Box, path: str) -> None:
        with pytest.raises(UserError):
            box.put({path: File(b"x")})
        with pytest.raises(UserError):
            box.take(path)

    def test_records_are_beside_the_workspace(self, box: Box) -> None:
        box.put({"result.json": File(b"{}")}, root=box.sandbox.outdir)
        assert box.exec("cat", f"{box.sandbox.outdir}/result.json").stdout == b"{}"
        assert box.take().files == {}
        assert box.take(root=box.sandbox.outdir).files == {"result.json": File(b"{}")}

    def test_take_brings_what_is_asked_for(self, box: Box) -> None:
        box.put({name: File(b"") for name in ("a", "b", "sub/c", "sub/deep/d", "other/e")})
        assert sorted(box.take("a", "sub", "missing", "a/below", "missing/x").files) == [
            "a",
            "sub/c",
            "sub/deep/d",
        ]

    def test_only_regular_files_come_out(self, box: Box) -> None:
        box.sh(
            "echo fine > fine; ln -s /etc/passwd link; ln -s /etc folder; ln -s fine inner; mkfifo pipe;"
            "echo twice > hard; ln hard hard2; echo suid > suid; chmod 4755 suid"
        )
        taken = box.take()
        assert taken.files == {"fine": File(b"fine\n"), "suid": File(b"suid\n", executable=True)}
        assert {entry.split(":")[0] for entry in taken.refused} == {
            "link",
            "folder",
            "inner",
            "pipe",
            "hard",
            "hard2",
        }
        asked = box.take("link", "folder/passwd", "pipe")
        assert not asked.files
        assert len(asked.refused) == 3

    def test_take_is_bounded(self, box: Box) -> None:
        box.put({f"f{i}": File(b"x" * 100) for i in range(10)})
        few = box.take(max_files=3)
        assert len(few.files) == 3
        assert few.truncated
        small = box.take(max_bytes=450)
        assert len(small.files) == 4
        assert small.truncated

    # open and close

    def test_mounts_are_there_and_read_only(self, bench: Bench, folder: Path) -> None:
        (folder / "agent").mkdir()
        (folder / "agent" / "inner").write_text("inside")
        (folder / "tool").write_text("#!/bin/sh\necho tool\n")
        (folder / "tool").chmod(0o755)
        mounts = (
            Mount(str(folder / "agent"), "/opt/goat-test/agent"),
            Mount(str(folder / "tool"), "/opt/goat-test/tool"),
        )
        with bench.box(mounts=mounts) as box:
            assert box.exec("/opt/goat-test/tool").stdout == b"tool\n"
            assert box.exec("cat", "/opt/goat-test/agent/inner").stdout == b"inside"
            assert not box.exec("touch", "/opt/goat-test/agent/new").ok
            assert not box.exec("cp", "/bin/true", "/opt/goat-test/tool").ok
        assert sorted(path.name for path in folder.iterdir()) == ["agent", "tool"]

    def test_sandboxes_share_nothing(self, bench: Bench) -> None:
        with bench.box() as one, bench.box() as two:
            one.sh("echo mine > file")
            two.sh("echo yours > file")
            assert (one.text("file"), two.text("file")) == ("mine\n", "yours\n")

    def test_many_are_open_at_once(self, bench: Bench) -> None:
        async def one(number: int) -> bytes:
            sandbox = await bench.backend.open(SandboxSpec(f"trial-{number}"))
            try:
                return (await sandbox.exec(["echo", str(number)], timeout=30)).stdout
            finally:
                await sandbox.close()

        async def all_of_them() -> list[bytes]:
            return await asyncio.gather(*(one(number) for number in range(8)))

        assert bench.run(all_of_them()) == [f"{number}\n".encode() for number in range(8)]

    def test_close_may_come_twice_and_ends_everything(self, bench: Bench) -> None:
        with bench.box() as box:
            bench.run(box.sandbox.close())
        bench.run(box.sandbox.close())
        for attempt in (lambda: box.exec("true"), lambda: box.put({}), lambda: box.take()):
            with pytest.raises(SandboxError):
                attempt()

    def test_close_ends_a_command_under_way(self, bench: Bench) -> None:
        async def close_meanwhile() -> None:
            sandbox = await bench.backend.open(SandboxSpec("trial"))
            command = asyncio.create_task(sandbox.exec(["sleep", "1000"], timeout=2000))
            await asyncio.sleep(0)
            await sandbox.close()
            with pytest.raises(SandboxError):
                await command

        bench.run(close_meanwhile())

    def test_a_cancelled_command_takes_its_sandbox_with_it(self, bench: Bench) -> None:
        async def cancel() -> None:
            sandbox = await bench.backend.open(SandboxSpec("trial"))
            command = asyncio.create_task(sandbox.exec(["sleep", "1000"], timeout=2000))
            await asyncio.sleep(0)
            command.cancel()
            with pytest.raises(asyncio.CancelledError):
                await command
            with pytest.raises(SandboxError):
                await sandbox.exec(["true"], timeout=5)
            await sandbox.close()

        bench.run(cancel())

    def test_stop_closes_what_is_open(self) -> None:
        async def leave_open() -> None:
            backend = self.make_backend()
            try:
                await backend.start()
            except UserError as error:
                pytest.skip(str(error))
            sandbox = await backend.open(SandboxSpec("trial"))
            await backend.stop()
            with pytest.raises(SandboxError):
                await sandbox.exec(["true"], timeout=5)

        asyncio.run(leave_open())

"""What a local sandbox has to stop, tried on every kind of isolation that this machine has."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.errors import SandboxError
from pytest_goat.sandbox.base import MB, Attach, File, SandboxLimits, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from tests.sandbox import attacks
from tests.sandbox.conformance import Bench, Box, WithBackend

_tokens = itertools.count(31415)


def unique_sleep() -> str:
    """An argument for `sleep` by which a process can be told from every other one on the machine."""
    return f"{next(_tokens)}.{os.getpid()}"


def alive(argument: str) -> list[int]:
    """The processes that have exactly this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        if argument.encode() in command_line(int(path.name)).split(b"\0"):
            found.append(int(path.name))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie: orphans are reaped by whoever that is on this machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.005)


def reached(box: Box, program: str, *args: str) -> list[str]:
    """What an attack reached; it must have run to its end."""
    result = box.exec("python3", "-I", "-S", "-c", program, *args)
    assert result.exit_code == 0, result.stderr.decode()
    return result.stdout.decode().splitlines()


class LocalAttacks(WithBackend):
    """Holds for every isolation; subclasses say what theirs lacks."""

    engine = ""
    network_gaps: frozenset[str] = frozenset()
    kernel_gaps: frozenset[str] = frozenset()

    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend(cls.engine)

    # processes

    @pytest.mark.parametrize("script", ["true", "sleep 1000"], ids=["exit", "timeout"])
    def test_daemons_die(self, box: Box, script: str) -> None:
        argument = unique_sleep()
        daemon = f"setsid sh -c 'trap \"\" TERM HUP INT; (sleep {argument}; :) & sleep {argument}; :'"
        box.sh(f"{daemon} </dev/null >/dev/null 2>&1 & sleep 0.1; {script}", timeout=0.3)
        assert not alive(argument)

    @pytest.mark.parametrize("child", ["", "child"], ids=["alone", "while a child holds its sockets"])
    def test_everything_dies_with_the_harness(self, folder: Path, child: str) -> None:
        argument = unique_sleep()
        with harness_process(self.engine, argument, folder, child) as harness:
            wait_until(lambda: alive(argument) or harness.poll() is not None)
            if harness.poll() is not None:
                pytest.skip(f"no {self.engine} sandbox here")
            launchers = [pid for pid in descendants(harness.pid) if b"launcher.py" in command_line(pid)]
            children = [pid for pid in descendants(harness.pid) if b"LocalBackend" in command_line(pid)]
            assert (len(launchers) > 0, len(children)) == (True, 1 if child else 0)
            harness.kill()
        try:
            wait_until(lambda: not alive(argument))
            wait_until(lambda: not any(map(runs, launchers)))
            wait_until(lambda: not any(folder.iterdir()))
        finally:
            for pid in children:
                os.kill(pid, signal.SIGKILL)

    def test_a_fork_bomb_is_stopped(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(processes=64)) as box:
            result = box.exec("python3", "-I", "-S", "-c", attacks.FORKS, timeout=20)
            assert result.limit == "processes" or 32 < int(result.stdout) <= 64
            assert box.exec("true").ok

    def test_no_process_is_in_reach(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOAT_TEST_SECRET", "s3cret-of-the-harness")
        pid = os.getpid()
        with subprocess.Popen(["sleep", "60"], env={"KEY": "s3cret-of-the-harness"}) as neighbour:
            try:
                assert not reached(box, attacks.PROCESSES, str(pid), "s3cret-of-the-harness")
                assert not reached(box, attacks.PROCESSES, str(neighbour.pid), "s3cret-of-the-harness")
            finally:
                neighbour.kill()

    def test_no_descriptor_is_inherited(self, box: Box) -> None:
        assert not reached(box, attacks.DESCRIPTORS)

    def test_the_kernel_is_closed(self, box: Box) -> None:
        assert set(reached(box, attacks.KERNEL)) == self.kernel_gaps

    # limits

    def test_private_memory_is_bounded(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(memory=128 * MB)) as box:
            result = box.exec("python3", "-I", "-S", "-c", attacks.PRIVATE_MEMORY)
            assert b"MemoryError" in result.stderr
            assert box.exec("true").ok

    @pytest.mark.parametrize(
        "program", [attacks.SHARED_MEMORY, attacks.MEMORY_OF_MANY], ids=["shared", "many"]
    )
    def test_memory_of_the_tree_is_bounded(self, bench: Bench, program: str) -> None:
        with bench.box(limits=SandboxLimits(memory=128 * MB)) as box:
            result = box.exec("python3", "-I", "-S", "-c", program, timeout=20)
            assert (result.ok, result.limit) == (False, "memory")
            assert box.exec("true").ok

    def test_a_file_is_bounded(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(file_size=4 * MB)) as box:
            assert not box.sh("head -c 10000000 /dev/zero > big").ok
            assert box.sh("stat -c %s big").stdout == b"4194304\n"

    def test_a_flood_of_output_costs_the_harness_no_memory(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(output=MB)) as box:
            box.exec("true")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before = memory_peak()
            result = box.sh("head -c 50000000 /dev/zero; echo end >&2")
        assert (len(result.stdout), result.stderr, result.truncated) == (MB, b"end\n", True)
        assert memory_peak() - before < 16 * MB

    # files

    def test_no_file_of_the_host_is_in_reach(self, bench: Bench, box: Box, folder: Path) -> None:
        folder.chmod(0o777)
        for name, mode in (("open", 0o666), ("closed", 0o600)):
            (folder / name).write_text("secret")
            (folder / name).chmod(mode)
        with bench.box() as sibling:
            sibling.put({"answer": File(b"secret")})
            other = sibling.sandbox.workdir
            siblings = [] if other == box.sandbox.workdir else [other]
            files = [
                folder / "open",
                folder / "closed",
                "/etc/shadow",
                *(f"{it}/answer" for it in siblings),
            ]
            folders: list[str | Path] = [
                folder,
                "/",
                "/usr",
                "/etc",
                "/var",
                "/root",
                "/dev",
                sys.prefix,
                *siblings,
            ]
            found = reached(box, attacks.FILES, ":".join(map(str, files)), ":".join(map(str, folders)))
        assert not found
        for place in map(Path, [*folders, Path.cwd()]):
            with contextlib.suppress(PermissionError):
                assert not (place / "goat-attack").exists()
        assert sorted(path.name for path in folder.iterdir()) == ["closed", "open"]

    # network

    def test_only_the_gateway_answers(self, bench: Bench, folder: Path) -> None:
        found = bench.run(network_attack(bench.backend, folder))
        assert found == {"gateway", *self.network_gaps}

    def test_without_a_gateway_nothing_answers(self, box: Box) -> None:
        found = reached(box, attacks.NETWORK, "8080", "22", "53", "/run/x.sock", "x")
        assert not found

    def test_a_listener_serves_its_own_sandbox_alone(self, bench: Bench) -> None:
        assert bench.run(two_listeners(bench.backend)) == {"one": b"one", "two": b"two"}

    # what comes out

    def test_a_swapped_link_leads_nowhere(self, bench: Bench, box: Box, folder: Path) -> None:
        folder.chmod(0o777)
        (folder / "f").write_text("secret")
        (folder / "f").chmod(0o666)

        async def race() -> set[bytes]:
            sandbox = box.sandbox
            argv = ["python3", "-I", "-S", "-c", attacks.SWAPS, str(folder)]
            swapping = asyncio.create_task(sandbox.exec(argv, timeout=60))
            while not (await sandbox.take(["swapping"])).files:
                await asyncio.sleep(0)
            seen: set[bytes] = set()
            for _ in range(500):
                taken = await sandbox.take(["d", "f"])
                seen.update(file.data for file in taken.files.values())
            for _ in range(50):
                with contextlib.suppress(SandboxError):  # it may lose the race, but nothing else
                    await sandbox.put({"d/f": File(b"mine"), "f": File(b"mine")})
                    await sandbox.put({"d": None, "f": None})
            await sandbox.close()
            await asyncio.gather(swapping, return_exceptions=True)
            return seen

        assert b"secret" not in bench.run(race())
        assert (folder / "f").read_text() == "secret"

    def test_a_name_that_is_no_text_stays_inside(self, box: Box) -> None:
        box.sh("touch fine $(printf '\\377')")
        taken = box.take()
        assert list(taken.files) == ["fine"]
        assert taken.refused == ("'\\udcff': name is not UTF-8",)

    def test_what_is_too_much_stays_inside(self, box: Box) -> None:
        box.sh("truncate -s 200M sparse; mkdir many; cd many; seq 3000 | xargs touch")
        taken = box.take(max_bytes=MB, max_files=1000)
        assert taken.truncated
        assert "sparse" not in taken.files
        assert len(taken.files) == 1000

    def test_folders_nested_without_end_are_removed(self, box: Box) -> None:
        nest = "import os\nfor _ in range(1100): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').close()"
        assert box.exec("python3", "-I", "-S", "-c", nest).ok
        taken = box.take()
        assert not taken.files
        assert "nested deeper" in taken.refused[0]
        box.put({"d": File(b"file")})
        assert box.text("d") == "file"


class TestNamespaceAttacks(LocalAttacks):
    engine = "ns"

    def test_the_disk_is_bounded(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(disk=8 * MB)) as box:
            fill = "for i in 1 2 3 4 5; do head -c 3000000 /dev/zero > {}/$i; done; du -smx {} | cut -f1"
            for folder, most in (
                (".", 8),
                (box.sandbox.outdir, 8),
                ("$HOME", 2),
                ("$TMPDIR", 2),
                ("/dev/shm", 2),
            ):
                used = int(box.sh(fill.replace("{}", folder)).stdout)
                assert 0 < used <= most
                box.sh(f"rm -f {folder}/*")

    def test_only_own_processes_are_seen(self, box: Box) -> None:
        pids = box.sh("ls /proc | grep '^[0-9]'").stdout.split()
        assert b"1" in pids
        assert len(pids) <= 5


class TestLandlockAttacks(LocalAttacks):
    engine = "landlock"
    network_gaps = frozenset({"gateway's port elsewhere"})
    # Only a capability empties the bounding set. Without new privileges nothing is won from what is in it.
    kernel_gaps = frozenset({"bounding set"} if os.geteuid() else ())


@contextlib.contextmanager
def harness_process(
    engine: str, argument: str, folder: Path, child: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs `sleep argument` in a sandbox, with its temporary files in `folder`."""
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SLEEP": argument,  # not in its own command line
        "CHILD": child,
    }
    argv = [sys.executable, "-c", attacks.HARNESS, engine]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as harness:
        try:
            yield harness
        finally:
            harness.kill()


def descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def memory_peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


async def greet(listener: socket.socket, words: bytes = b"hello") -> None:
    """Say `words` to everybody who connects."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            await loop.sock_sendall(connection, words)


@contextlib.contextmanager
def greeting(*listeners: socket.socket) -> Iterator[None]:
    tasks = [asyncio.create_task(greet(listener)) for listener in listeners]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for listener in listeners:
            listener.close()


async def network_attack(backend: Any, folder: Path) -> set[str]:
    """What of the host's network is reached from inside, where a decoy of every kind waits."""
    given: list[socket.socket] = []
    sandbox = await backend.open(SandboxSpec("trial", attach=lambda listener, _: given.append(listener)))
    port = given[0].getsockname()[1]
    decoys = [
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("127.0.0.2", port)),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    ]
    path, abstract = str(folder / "sock"), f"goat-{os.getpid()}"
    for decoy, address in zip(decoys[2:], (path, f"\0{abstract}"), strict=True):
        decoy.bind(address)
        decoy.listen()
    Path(path).chmod(0o777)
    with greeting(*given, *decoys), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        ports = [str(number) for number in (port, decoys[0].getsockname()[1], datagrams.getsockname()[1])]
        argv = ["python3", "-I", "-S", "-c", attacks.NETWORK, *ports, path, abstract]
        result = await sandbox.exec(argv, timeout=30)
        assert result.ok, result.stderr.decode()
        with pytest.raises(BlockingIOError):
            datagrams.recv(8)
    await sandbox.close()
    return set(result.stdout.decode().splitlines())


async def two_listeners(backend: Any) -> dict[str, bytes]:
    """What each of two sandboxes hears at every gateway port that there is."""
    given: dict[str, socket.socket] = {}

    def attach_as(name: str) -> Attach:
        return lambda listener, _: given.update({name: listener})

    boxes = {name: await backend.open(SandboxSpec(name, attach=attach_as(name))) for name in ("one", "two")}
    tasks = [asyncio.create_task(greet(listener, name.encode())) for name, listener in given.items()]
    ports = {str(listener.getsockname()[1]) for listener in given.values()}
    heard = {}
    for name, box in boxes.items():
        result = await box.exec(["python3", "-I", "-S", "-c", attacks.LISTEN, *ports], timeout=20)
        heard[name] = result.stdout
        await box.close()
    for task in tasks:
        task.cancel()
    for listener in given.values():
        listener.close()
    return heard

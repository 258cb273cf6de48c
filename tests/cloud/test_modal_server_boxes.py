"""What the machines behind the Modal test server's sandboxes keep apart, and what they let through."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("modal")

from modal_proto import api_pb2

from tests.modal_server.box import Box
from tests.modal_server.box_exec import Command
from tests.modal_server.box_factory import PATH, Boxes, VolumeMount, Wanted
from tests.modal_server.box_host import obstacle
from tests.modal_server.box_line import BoxError
from tests.modal_server.box_look import look
from tests.modal_server.box_stream import Output
from tests.modal_server.box_ways import permitted_ports
from tests.modal_server.state import Placed

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle())

PATIENCE = 20.0


async def run(box: Box, *argv: str, **env: str) -> tuple[int, str]:
    """Exit code and everything that a command writes."""
    started = box.start(Command(argv, {"PATH": PATH, **env}, "/", merge=True))
    await started.done.wait()
    return started.status, b"".join([chunk async for _, chunk in started.stdout.read(0)]).decode()


async def sh(box: Box, script: str, **env: str) -> str:
    code, out = await run(box, "sh", "-c", script, **env)
    assert code == 0, out
    return out


def within(work: Callable[[Box], Coroutine[Any, Any, None]], wanted: Wanted | None = None) -> None:
    """Do `work` with a box."""

    async def do() -> None:
        boxes = Boxes()
        box = await boxes.open(wanted or Wanted())
        try:
            await asyncio.wait_for(work(box), PATIENCE)
        finally:
            await box.kill()
            boxes.close()

    asyncio.run(do())


def test_nothing_of_the_host_is_seen_but_its_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("PLANTED", "planted-value")

    async def work(box: Box) -> None:
        assert (await run(box, "cat", str(secret)))[0] != 0
        assert (await run(box, "ls", str(Path(__file__).parent)))[0] != 0
        assert "planted" not in await sh(box, "cat /proc/[0-9]*/environ")
        assert str(os.getpid()) not in (await sh(box, "ls /proc")).split()
        assert (await sh(box, "hostname")) == "modal\n"

    within(work)


def test_root_inside_writes_everywhere_and_nothing_reaches_the_host() -> None:
    async def work(box: Box) -> None:
        places = ["/usr/bin/planted", "/usr/local/lib/planted", "/etc/planted", "/opt/planted", "/planted"]
        await sh(box, " && ".join(f"echo x > {place}" for place in places))
        await sh(box, "rm /usr/bin/env && ! test -e /usr/bin/env")
        assert not any(Path(place).exists() for place in places)
        assert Path("/usr/bin/env").exists()

    within(work)


def test_root_inside_is_nobody_outside() -> None:
    async def work(box: Box) -> None:
        assert (await sh(box, "id -u; stat -c %u /usr/bin /tmp")).split() == ["0", "0", "0"]
        assert Path(f"/proc/{box.pid}").stat().st_uid >= 2_000_000
        assert (await run(box, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern"))[0] != 0
        assert (await run(box, "sh", "-c", "kill -INT 1; kill -KILL 1; sleep 0.1; kill -0 1"))[0] == 0

    within(work)


def test_root_inside_becomes_another_user_whom_others_are_closed_to() -> None:
    as_other = (
        "import os, sys; os.setgroups([]); os.setgid(40000); os.setuid(40000);"
        "os.execvp('sh', ['sh', '-c', sys.argv[1]])"
    )

    async def work(box: Box) -> None:
        await sh(box, "echo x > /opt/file; chmod 600 /opt/file; setsid sleep 1000 & echo $! > /tmp/pid")
        script = "id -u && touch /tmp/mine && ! kill $(cat /tmp/pid) && ! cat /opt/file && ! touch /usr/mine"
        out = await sh(box, f'python3 -c "{as_other}" "$SCRIPT"', SCRIPT=script)
        assert out.startswith("40000\n")
        assert (await sh(box, "stat -c %u /tmp/mine; kill -0 $(cat /tmp/pid)")) == "40000\n"

    within(work)


def test_the_interpreter_of_the_tests_works_inside() -> None:
    async def work(box: Box) -> None:
        script = "import sys, pytest; print(sys.prefix, pytest.__version__)"
        expected = f"{sys.prefix} {pytest.__version__}\n"
        for name in ("python", "python3", "/usr/local/bin/python3"):
            assert (await run(box, name, "-c", script)) == (0, expected)

    within(work)


def test_files_of_the_image_are_at_their_places(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    files = {"/usr/local/bin/program": Placed(program, 0o755), "/opt/new/data": Placed(program, 0o640)}

    async def work(box: Box) -> None:
        assert await sh(box, "program") == "ran\n"
        assert await sh(box, "stat -c '%u:%g %a' /opt/new/data") == "0:0 640\n"
        assert await sh(box, "ls -d /srv/folder") == "/srv/folder\n"

    within(work, Wanted(files=files, folders=["/srv/folder"]))


def test_a_volume_is_a_folder_of_the_host(tmp_path: Path) -> None:
    for name in ("rw", "ro"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    volumes = [
        VolumeMount("/mnt/rw", tmp_path / "rw"),
        VolumeMount("/mnt/ro", tmp_path / "ro", read_only=True),
    ]

    async def work(box: Box) -> None:
        assert await sh(box, "cat /mnt/rw/old; echo new > /mnt/rw/new; sync /mnt/rw") == "old"
        assert (tmp_path / "rw" / "new").read_text() == "new\n"
        assert (tmp_path / "rw" / "new").stat().st_uid == 0
        assert (await run(box, "touch", "/mnt/ro/new"))[0] != 0

    within(work, Wanted(volumes=volumes))


CONNECT = """
import socket, sys
for port in sys.argv[1:]:
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 5) as sock:
            sock.sendall(b"ping")
            sock.shutdown(socket.SHUT_WR)
            print(sock.makefile().read() or "closed")
    except OSError as error:
        print(type(error).__name__)
"""


def test_only_the_given_ports_lead_out() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"echo:" + await reader.read())
        writer.close()

    async def do() -> None:
        boxes = Boxes()
        servers = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(2)]
        given, other = (server.sockets[0].getsockname()[1] for server in servers)
        box = await boxes.open(Wanted(ports=[given]))
        try:
            _, out = await run(box, "python3", "-c", CONNECT, str(given), str(other), str(given))
            assert out.split() == ["echo:ping", "ConnectionRefusedError", "echo:ping"]
            servers[0].close()
            await servers[0].wait_closed()
            assert "echo" not in (await run(box, "python3", "-c", CONNECT, str(given)))[1]
        finally:
            await box.kill()
            for server in servers:
                server.close()
            boxes.close()

    asyncio.run(asyncio.wait_for(do(), PATIENCE))


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.OPEN), [4000]),
        (api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.BLOCKED), []),
        (api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.ALLOWLIST), []),
        (
            api_pb2.NetworkAccess(
                network_access_type=api_pb2.NetworkAccess.ALLOWLIST, allowed_domains=["example.com"]
            ),
            [],
        ),
        (
            api_pb2.NetworkAccess(
                network_access_type=api_pb2.NetworkAccess.ALLOWLIST, allowed_domains=["127.0.0.1"]
            ),
            [4000],
        ),
        (
            api_pb2.NetworkAccess(
                network_access_type=api_pb2.NetworkAccess.ALLOWLIST, allowed_cidrs=["127.0.0.0/8"]
            ),
            [4000],
        ),
    ],
)
def test_what_a_sandbox_may_reach(access: api_pb2.NetworkAccess, expected: list[int]) -> None:
    assert permitted_ports(access, ["http://127.0.0.1:4000", ""]) == expected


def test_a_look_finds_what_files_and_processes_hold() -> None:
    async def work(box: Box) -> None:
        await sh(box, "mkdir /data; echo in-file > /data/file; ln -s /etc/passwd /data/link")
        started = box.start(Command(["sleep", "1000"], {"PATH": PATH, "KEY": "in-environment"}, "/"))
        found = look(box.pid, ["/data", "/missing"])
        while not any(process["argv"] == ["sleep", "1000"] for process in found["processes"]):
            await asyncio.sleep(0.01)
            found = look(box.pid, ["/data", "/missing"])
        assert found["files"] == {"/data/file": "in-file\n"}
        assert any("KEY=in-environment" in process["environ"] for process in found["processes"])
        started.kill()

    within(work)


SERVER = f"""
import asyncio
from tests.modal_server.box_exec import Command
from tests.modal_server.box_factory import Boxes, Wanted

async def main():
    box = await Boxes().open(Wanted())
    box.start(Command(["sh", "-c", "setsid sleep 1000 & sleep 1000"], {{"PATH": "{PATH}"}}, "/"))
    print(box.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_nothing_is_left_when_the_server_is_killed() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=root, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        init = int(server.stdout.readline())
        namespace = _pid_namespace(init)
        wait_until(lambda: len(_members(namespace)) >= 4)  # init, shell and both sleeps
        zygote = _parent(init)
        starter = _parent(zygote)
        assert _parent(starter) == server.pid
        server.send_signal(signal.SIGKILL)
    wait_until(lambda: not _members(namespace))
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (zygote, starter)))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _pid_namespace(pid: int) -> str:
    """ "" for a process that has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _members(namespace: str) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _pid_namespace(pid) == namespace]


def test_output_is_read_from_any_offset_by_many() -> None:
    async def do() -> None:
        output = Output()
        output.feed(b"abc")
        output.feed(b"def")

        async def read(offset: int) -> bytes:
            return b"".join([chunk async for _, chunk in output.read(offset)])

        readers = [asyncio.ensure_future(read(offset)) for offset in (0, 2, 3, 6, 8)]
        await asyncio.sleep(0)
        output.feed(b"ghi")
        output.end()
        assert await asyncio.gather(*readers) == [b"abcdefghi", b"cdefghi", b"defghi", b"ghi", b"i"]

    asyncio.run(do())


def test_without_root_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BoxError, match="need Linux and root"):
        asyncio.run(Boxes().open(Wanted()))

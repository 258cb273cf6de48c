"""What an agent may try in a sandbox on Modal against what runs its commands, and against its limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_goat.errors import Cause, SandboxError
from pytest_goat.sandbox.base import MB, File, NoRoom, SandboxLimits
from pytest_goat.sandbox.modal.backend import ModalBackend
from pytest_goat.task import Machine
from tests.sandbox import attacks
from tests.sandbox.conformance import Bench, Box, WithBackend
from tests.sandbox.modal_bench import make_backend, needs_root, server_for_this_process
from tests.support.modal import RunningServer

pytestmark = needs_root

KILL_BACK = """\
import os, signal
for number in range(1, 65):
    if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
        signal.signal(number, signal.SIG_IGN)
os.fork()
while True:
    try:
        os.kill(-1, signal.{signal})
    except ProcessLookupError:
        pass
"""

BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"

HIDDEN = """\
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: its files in /proc are root's now
    time.sleep(1000)
"""

SURVIVORS = """\
import glob, os
for path in glob.glob('/proc/[0-9]*/status'):
    status = open(path).read()
    if '\\t%d\\t' % os.getuid() in status and '\\nPid:\\t%d\\n' % os.getpid() not in status:
        print(status)
"""

DEEP = "import os\nfor _ in range(1100): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').close()"

EVERYWHERE = """\
import os
for folder, folders, _ in os.walk('/'):
    if folder.count('/') > 2:
        folders.clear()
    if not folder.startswith(('/proc', '/sys', '/workspace', '/out')):
        try:
            open(folder + '/goat-planted', 'w').close()
        except OSError:
            pass
"""


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[RunningServer]:
    with server_for_this_process() as running:
        yield running
        assert running.live() == []


def survivors(box: Box) -> str:
    """The user's processes that are alive, but for the one that looks."""
    return box.exec("python3", "-I", "-S", "-c", SURVIVORS).stdout.decode()


class TestAttacks(WithBackend):
    limits_folder: ClassVar[Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _limits_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.limits_folder = tmp_path_factory.mktemp("limits")

    @classmethod
    def make_backend(cls) -> ModalBackend:
        return make_backend(cls.limits_folder)

    # processes

    @pytest.mark.parametrize(
        "program",
        [KILL_BACK.format(signal="SIGKILL"), KILL_BACK.format(signal="SIGSTOP"), BOMB],
        ids=["kills back", "stops who kills", "fork bomb"],
    )
    def test_nothing_survives_its_command(self, bench: Bench, program: str) -> None:
        with bench.box(limits=SandboxLimits(processes=64)) as box:
            result = box.exec("python3", "-I", "-S", "-c", program, timeout=0.5)
            assert result.exit_code == -9
            assert survivors(box) == ""
            assert box.exec("true").ok

    def test_what_hides_does_not_survive_either(self, box: Box) -> None:
        assert box.exec("python3", "-I", "-S", "-c", HIDDEN).ok
        assert survivors(box) == ""

    def test_a_fork_bomb_is_stopped(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(processes=64)) as box:
            result = box.exec("python3", "-I", "-S", "-c", attacks.FORKS, timeout=20)
            assert result.limit == "processes" or 32 < int(result.stdout) <= 64

    def test_what_runs_the_commands_is_out_of_reach(self, box: Box) -> None:
        for attempt in (
            "echo >> /opt/goat/inside/main.py",
            "touch /opt/goat/inside/json.py",
            "mv /opt/goat /opt/stoat",
            "cat /proc/$PPID/environ",
            "kill -STOP $PPID",
        ):
            assert not box.sh(attempt).ok, attempt

    def test_no_right_is_won(self, box: Box) -> None:
        status = box.sh("cat /proc/self/status").stdout.decode()
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert told["NoNewPrivs"] == "1"
        assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0
        assert told["Groups"].strip() == ""
        assert {int(number) for number in told["Uid"].split()} == {61234}

    def test_no_descriptor_is_inherited(self, box: Box) -> None:
        assert box.exec("python3", "-I", "-S", "-c", attacks.DESCRIPTORS).stdout == b""

    # limits

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

    def test_the_disk_is_bounded(self, bench: Bench) -> None:
        with bench.box(limits=SandboxLimits(disk=8 * MB)) as box:
            result = box.sh("for i in 1 2 3 4 5; do head -c 3000000 /dev/zero > $i; done")
            assert (result.exit_code, result.limit) == (-9, "disk")
            with pytest.raises(NoRoom, match="8 MB"):
                box.put({"hidden.py": File(b"x")})
            box.put({str(number): None for number in range(1, 6)})
            assert box.exec("true").limit == ""
            box.put({"hidden.py": File(b"x")})

    def test_a_put_that_cannot_be_shows_with_the_next_command(self, box: Box) -> None:
        box.put({"x" * 300: File(b"")})
        with pytest.raises(NoRoom, match="too long"):
            box.exec("true")
        assert box.exec("true").ok
        assert box.take().files == {}

    # what stays

    def test_nothing_stays_outside_of_workspace_and_records(self, box: Box) -> None:
        assert box.exec("python3", "-I", "-S", "-c", EVERYWHERE).ok
        found = box.sh("find / -maxdepth 4 -path /proc -prune -o -name goat-planted -print").stdout
        assert found == b""

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

    @pytest.mark.parametrize("folder", ["", "/tmp"])
    def test_folders_nested_without_end_are_removed(self, box: Box, folder: str) -> None:
        assert box.exec("python3", "-I", "-S", "-c", DEEP, cwd=folder or None).ok
        if folder:
            assert box.sh("test -e /tmp/d").exit_code == 1
            return
        assert "nested deeper" in box.take().refused[0]
        box.put({"d": File(b"file")})
        assert box.sh("cat d").stdout == b"file"

    # images

    def test_an_image_without_python_is_told(self, bench: Bench, folder: Path) -> None:
        (folder / "Dockerfile").write_text("FROM scratch\nENV PATH=/nowhere\n")
        with bench.box(machine=Machine(image=folder / "Dockerfile")) as box:
            with pytest.raises(SandboxError, match=r"no python3.*\n.*`setup:`") as caught:
                box.exec("true")
            assert caught.value.cause is Cause.INTERNAL

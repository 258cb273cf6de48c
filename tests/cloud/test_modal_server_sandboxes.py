"""The Modal test server's sandboxes, through the unmodified SDK."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import pytest

from tests.modal_server.box_host import obstacle
from tests.support.modal import RunningServer, modal_server

modal = pytest.importorskip("modal")
pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle())

LIFETIME = 60
PATIENCE = 20.0


@dataclass(frozen=True)
class Cloud:
    """A server, and what the SDK needs to make sandboxes there."""

    server: RunningServer
    client: Any
    app: Any
    image: Any

    def create(self, *argv: str, **wanted: Any) -> Any:
        wanted = {"timeout": LIFETIME, "app": self.app, "image": self.image, **wanted}
        return modal.Sandbox.create(*argv, client=self.client, **wanted)

    def row(self, sandbox: Any) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.server.ask("sandboxes")
        return next(row for row in rows if row["id"] == sandbox.object_id)


def connect(server: RunningServer, context: pytest.MonkeyPatch) -> Cloud:
    """A client of its own, for the SDK keeps the one from the environment for the life of the process."""
    for name, value in server.env.items():
        context.setenv(name, value)
    client = modal.Client.from_credentials(server.env["MODAL_TOKEN_ID"], server.env["MODAL_TOKEN_SECRET"])
    app = modal.App.lookup("sandboxes", create_if_missing=True, client=client)
    return Cloud(server, client, app, modal.Image.debian_slim().build(app))


@pytest.fixture(scope="module")
def running() -> Iterator[Cloud]:
    with modal_server() as server, pytest.MonkeyPatch.context() as context:
        yield connect(server, context)


@pytest.fixture
def cloud(running: Cloud) -> Iterator[Cloud]:
    """The module's server, without sandboxes, faults and limits when the test ends."""
    yield running
    running.server.clear_faults()
    running.server.set(create_rate=0, burst=1, max_sandboxes=0, retry_after=0, idempotency=True)
    for row in running.server.live():
        modal.Sandbox.from_id(row["id"], client=running.client).terminate()
    assert running.server.live() == []


def run(sandbox: Any, *argv: str, stdin: bytes = b"", **how: Any) -> tuple[int, bytes, bytes]:
    process = sandbox.exec(*argv, text=False, **how)
    process.stdin.write(stdin)
    process.stdin.write_eof()
    process.stdin.drain()
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(), out, err


class Reading:
    """Reads the stdout of a process in a thread; made when something has come."""

    def __init__(self, process: Any) -> None:
        self._process, self._begun, self._text = process, Event(), ""
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE)

    def _read(self) -> None:
        for chunk in self._process.stdout:
            self._text += chunk
            self._begun.set()

    def all(self) -> str:
        """What there was when the stream ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self._text


def sh(sandbox: Any, script: str, **how: Any) -> str:
    """What a script that must end well writes."""
    code, out, err = run(sandbox, "sh", "-c", script, **how)
    assert code == 0, err
    return str(out, "utf-8")


# Commands


def test_a_command_has_its_own_streams_exit_code_environment_and_folder(cloud: Cloud) -> None:
    sandbox = cloud.create(env={"A": "sandbox", "B": "sandbox"})
    script = "cat; echo err >&2; printf %s,%s, $A $B; pwd; exit 3"
    code, out, err = run(sandbox, "sh", "-c", script, stdin=b"\xff\0in,", env={"B": "exec"}, workdir="/var")
    assert (code, out, err) == (3, b"\xff\0in,sandbox,exec,/var\n", b"err\n")


def test_the_environment_is_that_of_the_sandbox_alone(cloud: Cloud) -> None:
    names = {line.split("=")[0] for line in sh(cloud.create(), "env").splitlines()}
    assert names == {"HOME", "LANG", "MODAL_SANDBOX_ID", "PATH", "PWD"}


def test_secrets_come_by_name_and_inline(cloud: Cloud) -> None:
    with pytest.MonkeyPatch.context() as context:
        context.setenv("MODAL_ENVIRONMENT", "main")
        modal.Secret.objects.create("by-name", {"NAMED": "n"}, client=cloud.client, allow_existing=True)
    named, inline = modal.Secret.from_name("by-name"), modal.Secret.from_dict({"INLINE": "i"})
    sandbox = cloud.create(secrets=[named])
    assert sh(sandbox, "echo $NAMED$INLINE", secrets=[inline]) == "ni\n"
    assert cloud.row(sandbox)["env"] == ["HOME", "LANG", "MODAL_SANDBOX_ID", "NAMED", "PATH"]


def test_much_goes_through_in_both_directions(cloud: Cloud) -> None:
    data = os.urandom(1 << 20) * 15
    assert run(cloud.create(), "cat", stdin=data) == (0, data, b"")


def test_a_flood_that_nobody_reads_waits_in_the_sandbox(cloud: Cloud) -> None:
    process = cloud.create().exec("sh", "-c", "yes | head -c 200000000; echo end >&2", text=False)
    read = sum(len(chunk) for chunk in process.stdout)
    assert (read, process.stderr.read(), process.wait()) == (200_000_000, b"end\n", 0)


def test_output_can_be_sent_to_nowhere(cloud: Cloud) -> None:
    nowhere = modal.stream_type.StreamType.DEVNULL
    process = cloud.create().exec("sh", "-c", "echo out; echo err >&2", stdout=nowhere)
    assert (process.stderr.read(), process.wait()) == ("err\n", 0)


def test_a_program_that_is_not_there_ends_as_in_a_shell(cloud: Cloud) -> None:
    code, _, err = run(cloud.create(), "no-such-program")
    assert code == 127
    assert b"no-such-program" in err


def test_a_signal_is_told_as_128_and_its_number(cloud: Cloud) -> None:
    assert run(cloud.create(), "sh", "-c", "kill -TERM $$")[0] == 128 + 15


def test_commands_run_side_by_side(cloud: Cloud) -> None:
    sandbox = cloud.create()
    waiting = [sandbox.exec("sh", "-c", f"read line < /tmp/go; echo {n} $line") for n in range(2)]
    sh(sandbox, "mkfifo /tmp/go 2>/dev/null; exec 3<>/tmp/go; echo a >&3; echo b >&3; sleep 0.2")
    answers = sorted(process.stdout.read().split()[0] for process in waiting)
    assert answers == ["0", "1"]


def test_a_daemon_outlives_its_command_and_does_not_hold_its_streams(cloud: Cloud) -> None:
    sandbox = cloud.create()
    assert sh(sandbox, "setsid sleep 1000 & echo $! > /tmp/pid; echo started") == "started\n"
    assert "sleep" in sh(sandbox, "tr '\\0' ' ' < /proc/$(cat /tmp/pid)/cmdline")


def test_a_flood_of_a_daemon_ends_with_its_command(cloud: Cloud) -> None:
    out = sh(cloud.create(), "echo first; yes & sleep 0.1")
    assert out.startswith("first\ny\n")


def test_a_command_that_runs_out_of_time_ends_as_minus_one(cloud: Cloud) -> None:
    sandbox = cloud.create()
    process = sandbox.exec("sh", "-c", "echo $$; exec sleep 1000", timeout=1)
    pid = process.stdout.read().strip()
    assert process.wait() == -1
    sh(sandbox, f"while test -e /proc/{pid}; do sleep 0.02; done")


def test_poll_tells_whether_a_command_runs(cloud: Cloud) -> None:
    process = cloud.create().exec("cat")
    assert process.poll() is None
    process.stdin.write_eof()
    process.stdin.drain()
    process.wait()
    assert process.poll() == 0


def test_a_broken_stream_is_taken_up_where_it_broke(cloud: Cloud) -> None:
    sandbox = cloud.create()
    cloud.server.fault("TaskExecStdioRead", "lost_reply", times=2)  # the first message, then a reset
    assert sh(sandbox, "echo one; sleep 0.2; echo two; sleep 0.2; echo three") == "one\ntwo\nthree\n"


def test_a_write_whose_reply_was_lost_adds_nothing(cloud: Cloud) -> None:
    sandbox = cloud.create()
    cloud.server.fault("TaskExecStdinWrite", "lost_reply")
    cloud.server.fault("TaskExecStart", "lost_reply")
    assert sh(sandbox, "cat; echo x >> /tmp/starts; wc -l < /tmp/starts", stdin=b"once\n") == "once\n1\n"


# The life of a sandbox


def test_terminate_ends_everything(cloud: Cloud) -> None:
    sandbox = cloud.create()
    process = sandbox.exec("sh", "-c", "echo started; exec sleep 1000")
    stdout = Reading(process)
    sandbox.terminate()
    assert stdout.all() == "started\n"
    for late in (process.wait, lambda: sandbox.exec("true")):
        with pytest.raises(modal.exception.NotFoundError):
            late()
    with pytest.raises(modal.exception.SandboxTerminatedError):
        sandbox.wait()
    assert sandbox.returncode == 137
    sandbox.terminate()


def test_a_lifetime_ends_a_sandbox(cloud: Cloud) -> None:
    sandbox = cloud.create(timeout=1)
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.returncode == 124


def test_an_idle_sandbox_ends_without_an_exception(cloud: Cloud) -> None:
    sandbox = cloud.create(idle_timeout=1)
    assert sh(sandbox, "sleep 1.5; echo active") == "active\n"
    sandbox.wait()
    assert (sandbox.returncode, cloud.row(sandbox)["status"]) == (0, "IDLE_TIMEOUT")


def test_an_eviction_tells_nothing_but_an_exit_code_of_zero(cloud: Cloud) -> None:
    sandbox = cloud.create()
    process = sandbox.exec("sh", "-c", "echo started; exec sleep 1000")
    stdout = Reading(process)
    cloud.server.ask("kill", sandbox=sandbox.object_id)
    assert stdout.all() == "started\n"
    with pytest.raises(modal.exception.NotFoundError):
        process.wait()
    sandbox.wait()
    assert sandbox.returncode == 0


def test_a_sandbox_ends_with_its_entrypoint(cloud: Cloud) -> None:
    sandbox = cloud.create("sh", "-c", "read line; echo got $line; exit 4")
    sandbox.stdin.write("text\n")
    sandbox.stdin.drain()
    assert sandbox.stdout.read() == "got text\n"
    sandbox.wait()
    assert sandbox.returncode == 4


def test_only_the_newest_output_of_an_entrypoint_is_kept(cloud: Cloud) -> None:
    sandbox = cloud.create("sh", "-c", "yes | head -c 5000000; echo last")
    sandbox.wait()
    kept = sandbox.stdout.read()
    assert kept.endswith("y\nlast\n")
    assert len(kept) < 2_200_000


def test_a_probe_tells_when_a_sandbox_is_ready(cloud: Cloud) -> None:
    probe = modal.Probe.with_exec("test", "-e", "/tmp/ready", interval_ms=20)
    sandbox = cloud.create("sh", "-c", "sleep 0.2; touch /tmp/ready; sleep 1000", readiness_probe=probe)
    sandbox.wait_until_ready(timeout=10)
    assert sh(sandbox, "ls /tmp/ready") == "/tmp/ready\n"


# Finding sandboxes


def test_sandboxes_are_found_by_app_tags_id_and_name(cloud: Cloud) -> None:
    one = cloud.create(tags={"run": "1", "item": "a"}, name="one")
    two = cloud.create(tags={"run": "1"})
    other_app = modal.App.lookup("other", create_if_missing=True, client=cloud.client)
    cloud.create(app=other_app, tags={"run": "1"})

    def found(**by: Any) -> list[str]:
        return [s.object_id for s in modal.Sandbox.list(app_id=cloud.app.app_id, client=cloud.client, **by)]

    assert found() == [two.object_id, one.object_id]
    assert found(tags={"item": "a", "run": "1"}) == [one.object_id]
    two.set_tags({"item": "a"})
    assert two.get_tags() == {"item": "a"}
    assert found(tags={"run": "1"}) == [one.object_id]
    assert sh(modal.Sandbox.from_name("sandboxes", "one", client=cloud.client), "echo 1") == "1\n"
    again = modal.Sandbox.from_id(two.object_id, client=cloud.client)
    assert sh(again, "echo 2") == "2\n"
    again.terminate()
    assert found() == [one.object_id]


def test_a_name_is_taken_as_long_as_its_sandbox_lives(cloud: Cloud) -> None:
    first = cloud.create(name="same")
    with pytest.raises(modal.exception.AlreadyExistsError):
        cloud.create(name="same")
    first.terminate()
    cloud.create(name="same")


def test_what_does_not_exist_is_not_found(cloud: Cloud) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_id("sb-none", client=cloud.client)
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_name("sandboxes", "none", client=cloud.client)


def test_what_was_asked_for_is_told(cloud: Cloud) -> None:
    sandbox = cloud.create(
        cpu=(0.5, 2), memory=(256, 1024), idle_timeout=30, outbound_domain_allowlist=["gateway.example"]
    )
    told = cloud.row(sandbox)
    expected = {
        "app": "sandboxes",
        "cpu": [0.5, 2],
        "memory": [256, 1024],
        "timeout": LIFETIME,
        "idle_timeout": 30,
        "hosts": ["gateway.example"],
        "status": "",
    }
    assert {key: told[key] for key in expected} == expected
    assert cloud.row(cloud.create(block_network=True))["hosts"] == []
    assert cloud.row(cloud.create())["hosts"] is None


def test_one_with_a_gpu_is_made_by_the_first_generation_of_calls(cloud: Cloud) -> None:
    sandbox = cloud.create(gpu="A10G")
    assert sh(sandbox, "echo 1") == "1\n"
    assert cloud.row(sandbox)["gpu"] == "A10G"
    sandbox.terminate()
    assert sandbox.poll() == 137


# Limits


def test_creation_has_a_rate(cloud: Cloud) -> None:
    cloud.server.set(create_rate=2, burst=2)
    cloud.create()
    cloud.create()
    with pytest.raises(modal.exception.ResourceExhaustedError, match=r"creation rate limit \(2/s\) exceeded"):
        cloud.create()
    cloud.server.set(retry_after=0.5)
    cloud.create()  # the SDK waits as it is told


def test_the_number_of_sandboxes_is_limited(cloud: Cloud) -> None:
    cloud.server.set(max_sandboxes=1)
    first = cloud.create()
    with pytest.raises(modal.exception.ResourceExhaustedError):
        cloud.create()
    first.terminate()
    cloud.create()


@pytest.mark.parametrize(("idempotency", "made"), [(True, 1), (False, 2)])
def test_a_create_whose_reply_was_lost(cloud: Cloud, idempotency: bool, made: int) -> None:
    cloud.server.set(idempotency=idempotency)
    cloud.server.fault("SandboxCreateV2", "lost_reply")
    assert sh(cloud.create(), "echo 1") == "1\n"
    assert len(cloud.server.live()) == made

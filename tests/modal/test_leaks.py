"""Runs that end before their time, or lose replies: no sandbox outlives them, and nothing done is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.modal_server.faults import ALWAYS
from tests.sandbox.modal_bench import needs_root
from tests.support.modal_runs import SOON, Cloud, Project, Started
from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite
from tests.support.waiting import until

pytestmark = needs_root

ALONE = ("--goat-parallel=3",)
WORKERS = ("-n", "2")


class Interrupted:
    """A run with agents that do not end by themselves."""

    def __init__(self, project: Project) -> None:
        self.project, self.server = project, project.cloud.server
        self._started: Started

    def start(self, *options: str, slow: int, quick: int = 1, wrong: bool = False) -> None:
        """Returns when the quick trials have passed and the slow ones are at work."""
        sleep = [{"tools": [{"Bash": {"command": "sleep 1000"}}]}, {"text": "Done."}]
        recordings: dict[str, Any] = {f"quick{number}": WRITE_HELLO for number in range(quick)}
        recordings |= {f"slow{number}": sleep for number in range(slow)}
        if wrong:
            recordings["wrong"] = [{"tools": [{"Bash": {"command": "sleep 1"}}]}, *WRITE_WRONG]
        tasks = [hello_task(name) for name in recordings]
        write_suite(self.project.folder / "suite", tasks, recordings)
        self._started = Started(self.project, "suite", *options)
        at_once = min(slow, 2) if options == WORKERS else slow
        until("trials run", lambda: self.log.count("PASSED") >= quick and self.agents() >= at_once)

    @property
    def process(self) -> Any:
        return self._started.process

    @property
    def log(self) -> str:
        return self._started.log

    def agents(self) -> int:
        """How many agents are at work."""
        return sum(self._sleeps(sandbox) for sandbox in self.server.live())

    def _sleeps(self, sandbox: dict[str, Any]) -> bool:
        try:
            inside = self.server.ask("look", sandbox=sandbox["id"], paths=[])
        except ValueError:
            return False  # it has just ended
        return any(process["argv"][0] == "sleep" for process in inside["processes"])

    def nothing_lives(self) -> bool:
        return self.server.live() == []

    def signal(self, number: signal.Signals) -> None:
        self._started.signal_group(number)

    def ends(self, code: int) -> None:
        """Soon nothing lives, and the process has ended so."""
        until("sandboxes are gone", self.nothing_lives, SOON)
        assert self.process.wait(SOON) == code, self.log
        assert "Traceback" not in self.log

    def stored(self) -> dict[str, str]:
        return {name: trial["status"] for name, trial in self.project.trials().items()}

    def in_volume(self) -> dict[str, str]:
        told = self.project.results(self.project.run_id, "--modal")
        return {trial["task_id"]: trial["status"] for trial in told["trials"]}

    def close(self) -> None:
        self._started.close()


@pytest.fixture
def run(project: Project) -> Iterator[Interrupted]:
    run = Interrupted(project)
    yield run
    run.close()


def test_a_killed_run_is_cleaned_up_by_its_id(run: Interrupted) -> None:
    run.start(*ALONE, slow=2)
    left = run.server.live()
    run.process.kill()
    run.process.wait()
    run_id = run.project.run_id
    assert run.server.live() == left
    # Whatever nobody cleans up ends by itself.
    assert all(0 < sandbox["idle_timeout"] <= 300 < sandbox["timeout"] < 4000 for sandbox in left)

    other = run.project.goat("cleanup", "--run", "20260101-000000-0000")
    assert (other.code, other.said) == (0, "no sandbox is left\n")
    young = run.project.goat("cleanup", "--older-than", "1h")
    assert (young.code, young.said) == (0, "no sandbox is left\n")
    assert run.server.live() == left
    ours = run.project.goat("cleanup", "--run", run_id)
    assert ours.code == 0, ours.said
    assert ours.said.endswith("2 sandboxes ended\n")
    for sandbox in left:
        assert f"ended {sandbox['id']}: {sandbox['tags']['goat-trial']} of run {run_id}" in ours.said
    assert run.nothing_lives()

    # What it had done goes to the volume when somebody says so.
    assert run.project.goat("push", run_id).code == 0
    assert run.in_volume() == {"quick0": "passed"}


def test_workers_end_the_sandboxes_of_a_killed_controller(run: Interrupted) -> None:
    run.start(*WORKERS, slow=3)
    run.process.kill()
    run.process.wait()
    until("sandboxes are gone", run.nothing_lives, SOON)


@pytest.mark.parametrize("options", [ALONE, WORKERS], ids=["alone", "workers"])
def test_sigterm_ends_the_run_in_good_order(run: Interrupted, options: tuple[str, ...]) -> None:
    run.start(*options, slow=3)
    run.process.terminate()
    run.ends(128 + signal.SIGTERM)
    assert run.in_volume() == {"quick0": "passed"}


@pytest.mark.parametrize("options", [ALONE, WORKERS], ids=["alone", "workers"])
def test_ctrl_c_ends_the_run_and_keeps_what_is_done(run: Interrupted, options: tuple[str, ...]) -> None:
    run.start(*options, slow=3)
    run.signal(signal.SIGINT)
    run.ends(2)
    assert run.stored() == run.in_volume() == {"quick0": "passed"}
    assert "\n1 trial of replay in " in run.log


def test_a_second_ctrl_c_waits_for_nothing(run: Interrupted) -> None:
    run.start(*ALONE, slow=2)
    run.server.fault("SandboxTerminateV2", "hang", times=ALWAYS)
    run.signal(signal.SIGINT)
    until("the run ends its sandboxes", lambda: run.server.calls().get("SandboxTerminateV2", 0) >= 2)
    run.server.clear_faults()
    run.signal(signal.SIGINT)
    run.ends(2)
    assert f"`goat cleanup --run {run.project.run_id}` ends what is left" in run.log


def test_an_end_that_modal_does_not_answer_is_told(run: Interrupted) -> None:
    run.start(*ALONE, slow=2)
    run.server.fault("SandboxTerminateV2", "hang", times=ALWAYS)
    run.signal(signal.SIGINT)
    assert run.process.wait(4 * SOON) == 2, run.log
    assert "Traceback" not in run.log
    assert len(run.server.live()) == 2
    run.server.clear_faults()
    assert f"`goat cleanup --run {run.project.run_id}` ends what is left" in run.log
    assert run.project.goat("cleanup", "--run", run.project.run_id).code == 0


def test_the_first_failure_ends_the_others(run: Interrupted) -> None:
    run.start(*ALONE, "-x", slow=2, quick=0, wrong=True)
    run.ends(1)
    assert "stopping after 1 failures" in run.log
    assert run.stored() == run.in_volume() == {"wrong": "failed"}


def test_a_dead_workers_sandbox_is_ended_at_once_and_the_run_goes_on(run: Interrupted) -> None:
    run.start(*WORKERS, slow=1, quick=3)
    os.kill(busy_worker(run), signal.SIGKILL)
    until("the dead worker's sandbox is gone", run.nothing_lives, SOON)
    assert run.process.wait(30) == 1, run.log
    assert (
        run.stored()
        == run.in_volume()
        == dict.fromkeys(("quick0", "quick1", "quick2"), "passed") | {"slow0": "error"}
    )
    assert "3 passed, 1 error" in run.log


def busy_worker(run: Interrupted) -> int:
    """The process id of the worker that has a sandbox."""
    (sandbox,) = run.server.live()
    number = sandbox["tags"]["goat-worker"].removeprefix("gw")
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
    return int(children[int(number)])


def test_lost_replies_and_ctrl_c_at_once(cloud: Cloud, run: Interrupted) -> None:
    cloud.server.set(idempotency=False)
    cloud.server.fault("SandboxCreateV2", "lost_reply", times=3)
    cloud.server.fault("SandboxListV2", "unavailable")
    run.start(*ALONE, slow=2)
    assert len(cloud.server.live()) >= 4
    run.signal(signal.SIGINT)
    run.ends(2)

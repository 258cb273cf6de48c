"""Runs that end before their time: no process of any sandbox lives on, and no finished trial is lost."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import nested
from tests.support.agent_run import processes_with
from tests.support.runs import stored_trials
from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite
from tests.support.waiting import until

SOON = 10.0
"""Seconds within which everything has to be gone."""


class Run:
    """A pytest process in a process group of its own, as a terminal makes it, and what goes on in it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.mark = str(10**6 + secrets.randbelow(10**9))
        """Seconds that agents sleep: by this their processes are known."""
        self._log = (folder / "log.txt").open("wb")
        self._options = options
        self.process: subprocess.Popen[bytes]

    def start(self, *quick: str, slow: int, wrong: bool = False) -> None:
        """Run `slow` tasks that do not end by themselves, those named `quick`, and maybe a wrong one."""
        sleep = [{"tools": [{"Bash": {"command": f"sleep {self.mark}"}}]}, {"text": "Done."}]
        recordings: dict[str, Any] = dict.fromkeys(quick, WRITE_HELLO)
        recordings |= {f"slow{number}": sleep for number in range(slow)}
        if wrong:
            recordings["wrong"] = [{"tools": [{"Bash": {"command": "sleep 2"}}]}, *WRITE_WRONG]
        write_suite(self.folder / "suite", [hello_task(name) for name in recordings], recordings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "suite", "-p", "no:cacheprovider", "-v", *self._options],
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": nested.OPTIONS},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            # Where the tests themselves run in the background, Ctrl-C is ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def asleep(self) -> int:
        """How many agents sleep now."""
        return len(processes_with(self.mark))

    def wait_for(self, quick: int, asleep: int) -> None:
        """Until so many trials have been reported, and so many sleep."""
        until("trials run", lambda: self.log.count("PASSED") >= quick and self.asleep() >= asleep)

    def group_is_gone(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run with the options that the test is parametrized with."""
    run = Run(tmp_path, *getattr(request, "param", ("--goat-parallel=4",)))
    yield run
    run.close()


def results_of(folder: Path) -> dict[str, Any]:
    """What `goat results` tells of the one run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_goat.cli", "results", "latest", "--json"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_killed_run_leaves_nothing_but_its_results(run: Run) -> None:
    run.start("quick", slow=3)
    run.wait_for(quick=1, asleep=3)
    run.process.kill()
    assert run.process.wait() == -signal.SIGKILL
    until("sandboxes are gone", lambda: run.asleep() == 0, SOON)
    told = results_of(run.folder)
    assert [(trial["task_id"], trial["status"]) for trial in told["trials"]] == [("quick", "passed")]
    assert told["run"]["finished"] == ""
    assert told["summary"]["totals"]["passed"] == 1


@pytest.mark.parametrize(
    "run", [("--goat-parallel=4",), ("-n", "2")], indirect=True, ids=["alone", "workers"]
)
def test_sigterm_ends_the_run_in_good_order(run: Run) -> None:
    run.start("quick", slow=3)
    run.wait_for(quick=1, asleep=2)
    run.process.terminate()
    until("sandboxes are gone", lambda: run.asleep() == 0, SOON)
    assert run.process.wait(SOON) == 128 + signal.SIGTERM
    assert "ended by SIGTERM" in run.log
    assert "Traceback" not in run.log
    told = results_of(run.folder)
    assert (bool(told["run"]["finished"]), told["summary"]["totals"]["passed"]) == (True, 1)


@pytest.mark.parametrize("run", [("-n", "2")], indirect=True, ids=["workers"])
def test_workers_do_not_outlive_a_killed_controller(run: Run) -> None:
    run.start("quick", slow=3)
    run.wait_for(quick=1, asleep=2)
    run.process.kill()
    run.process.wait()
    until("sandboxes are gone", lambda: run.asleep() == 0, SOON)
    until("workers are gone", run.group_is_gone, SOON)
    assert [(trial["task_id"], trial["status"]) for trial in results_of(run.folder)["trials"]] == [
        ("quick", "passed")
    ]


@pytest.mark.parametrize(
    "run", [("--goat-parallel=4",), ("-n", "2")], indirect=True, ids=["alone", "workers"]
)
def test_ctrl_c_ends_the_run_and_keeps_what_is_done(run: Run) -> None:
    run.start("quick", slow=3)
    run.wait_for(quick=1, asleep=2)
    os.killpg(run.process.pid, signal.SIGINT)
    until("sandboxes are gone", lambda: run.asleep() == 0, SOON)
    assert run.process.wait(SOON) == 2
    assert "\n1 trial of replay in " in run.log
    assert "KeyboardInterrupt" in run.log
    assert "Traceback" not in run.log
    assert {name: trial["status"] for name, trial in stored_trials(run.folder).items()} == {"quick": "passed"}
    assert results_of(run.folder)["run"]["finished"]


@pytest.mark.parametrize("run", [("-x", "--goat-parallel=4")], indirect=True, ids=["alone"])
def test_stopping_at_the_first_failure_ends_the_others(run: Run) -> None:
    run.start(slow=3, wrong=True)
    run.wait_for(quick=0, asleep=1)
    assert run.process.wait(30) == 1
    assert run.asleep() == 0
    assert "stopping after 1 failures" in run.log
    assert list(stored_trials(run.folder)) == ["wrong"]


@pytest.mark.parametrize("run", [("-n", "2")], indirect=True, ids=["workers"])
def test_a_worker_that_dies_takes_its_sandbox_along_and_the_run_goes_on(run: Run) -> None:
    run.start("quick0", "quick1", "quick2", slow=1)
    run.wait_for(quick=1, asleep=1)
    os.kill(worker_of(sleeper(run), run.process.pid), signal.SIGKILL)
    until("the dead worker's sandbox is gone", lambda: run.asleep() == 0, SOON)
    assert run.process.wait(60) == 1
    assert "crashed while running 'suite/slow0.yaml::slow0[replay]'" in run.log
    trials = stored_trials(run.folder)
    assert set(trials) == {"quick0", "quick1", "quick2", "slow0"}
    assert trials["slow0"]["status"] == "error"
    assert "3 passed, 1 error" in run.log
    assert "1 infrastructure error" in run.log


def sleeper(run: Run) -> int:
    """The process that sleeps."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if run.mark in (entry / "cmdline").read_text().split("\0"):
                    return int(entry.name)
    raise AssertionError("nobody sleeps")


def worker_of(pid: int, controller: int) -> int:
    """The child of `controller` that `pid` descends from."""
    while True:
        stat = Path(f"/proc/{pid}/stat").read_text()
        parent = int(stat.rpartition(")")[2].split()[1])
        if parent == controller:
            return pid
        pid = parent

"""Faults of Modal in whole runs: tried again and passed, or an error that says why; no failure, no hang.

What a single sandbox makes of each fault is in tests/sandbox/test_modal_faults.py.
"""

from __future__ import annotations

import threading
from typing import Any

from tests.modal_server.faults import ALWAYS
from tests.sandbox.modal_bench import needs_root
from tests.support.modal_runs import Cloud, Done, Project
from tests.support.suites import WRITE_HELLO, Turns, hello_task, write_suite
from tests.support.waiting import until

pytestmark = needs_root

SLOW: Turns = [{"tools": [{"Bash": {"command": "test -e slept || { touch slept; sleep 3; }"}}]}, *WRITE_HELLO]
SHORT_DEADLINES = """
from pytest_goat.sandbox.modal.backend import ModalBackend
from pytest_goat.sandbox.modal.sandbox import Deadlines

ModalBackend.__init__.__kwdefaults__["deadlines"] = Deadlines(
    create=1.0, start=1.0, answer=1.0, look=1.0, end=1.0
)
"""
"""A conftest.py: nobody waits minutes here for what never answers."""


def run(project: Project, tasks: int = 2, turns: Turns = WRITE_HELLO, **task: Any) -> Done:
    """A run of so many tasks, two at once."""
    names = [f"task{number}" for number in range(tasks)]
    write_suite(
        project.folder / "suite", [hello_task(name, **task) for name in names], dict.fromkeys(names, turns)
    )
    return project.pytest("suite", "--goat-parallel=2")


def told(project: Project) -> list[tuple[str, str | None, list[str]]]:
    """Status, cause, and the causes of earlier attempts, of each trial."""
    return [
        (trial["status"], trial["cause"], [attempt["cause"] for attempt in trial["attempts"]])
        for _, trial in sorted(project.trials().items())
    ]


def test_faults_that_the_sdk_mends_are_not_noticed(cloud: Cloud, project: Project) -> None:
    server = cloud.server
    server.set(idempotency=False)
    faults: list[tuple[str, str, dict[str, Any]]] = [
        ("SandboxCreateV2", "unavailable", {"times": 2}),
        ("SandboxCreateV2", "reset", {"after": 1}),
        ("SandboxCreateV2", "abort", {"after": 2}),
        ("SandboxCreateV2", "lost_reply", {"after": 3}),
        ("SandboxCreateV2", "resource_exhausted", {"after": 4, "retry_after": 0.2}),
        ("TaskExecStart", "unavailable", {"times": 2}),
        ("TaskExecStdinWrite", "lost_reply", {"after": 1}),
        ("TaskExecStdioRead", "reset", {"after": 1}),
        ("TaskExecStdioRead", "abort", {"after": 3}),
        ("SandboxTerminateV2", "unavailable", {"times": 2}),
        ("SandboxListV2", "unavailable", {}),
        ("DictUpdate", "unavailable", {}),
        ("VolumePutFiles2", "unavailable", {}),
    ]
    for rpc, kind, details in faults:
        server.fault(rpc, kind, **details)
    done = run(project, 6)
    assert done.code == 0, done.said
    assert told(project) == [("passed", None, [])] * 6
    # The one of which the reply was lost was made twice; the fixture looks whether both are gone.
    ours = [box for box in server.ask("sandboxes") if box["tags"]["goat-run"] == project.run_id]
    assert len(ours) == 7


def test_sandboxes_that_are_not_had_or_lost_are_tried_again(cloud: Cloud, project: Project) -> None:
    server = cloud.server
    server.fault("SandboxCreateV2", "unavailable", times=9)
    server.fault("TaskExecStart", "not_found")
    server.fault("TaskExecStdioRead", "not_found", after=1)
    done = run(project)
    assert done.code == 0, done.said
    assert {status for status, _, _ in told(project)} == {"passed"}
    assert [cause for _, _, earlier in told(project) for cause in earlier] == ["sandbox_lost"] * 4
    assert "a sandbox cannot be made: injected: unavailable" in str(project.trials())


def test_quotas_are_waited_for(cloud: Cloud, project: Project) -> None:
    cloud.server.fault("SandboxCreateV2", "resource_exhausted")
    cloud.server.set(max_sandboxes=1)
    done = run(project)
    assert done.code == 0, done.said
    assert told(project) == [("passed", None, [])] * 2


def test_a_modal_that_stays_away_makes_errors_not_failures(cloud: Cloud, project: Project) -> None:
    cloud.server.fault("SandboxCreateV2", "internal", times=ALWAYS)
    done = run(project, 1)
    assert done.code == 1, done.said
    assert told(project) == [("error", "sandbox_lost", ["sandbox_lost"] * 3)]
    assert "1 error in" in done.said
    assert "1 infrastructure error, not in the rate" in done.said
    assert "Traceback" not in done.said


def test_a_token_that_is_withdrawn_is_told_with_the_mend(cloud: Cloud, project: Project) -> None:
    cloud.server.fault("SandboxCreateV2", "unauthenticated", times=ALWAYS)
    done = run(project)
    assert done.code == 1, done.said
    assert told(project) == [("error", "setup", [])] * 2
    assert cloud.server.calls()["SandboxCreateV2"] == 2
    assert "modal token new" in done.said
    assert "please report it" not in done.said


def test_a_sandbox_that_modal_takes_away_midway(cloud: Cloud, project: Project) -> None:
    def take_away() -> None:
        until("an agent works", lambda: cloud.server.calls().get("TaskExecStdioRead"))
        (sandbox,) = cloud.server.live()
        cloud.server.ask("kill", sandbox=sandbox["id"])

    killer = threading.Thread(target=take_away)
    killer.start()
    done = run(project, 1, SLOW)
    killer.join()
    assert done.code == 0, done.said
    assert told(project) == [("passed", None, ["sandbox_lost"])]


def test_what_never_answers_is_given_up(cloud: Cloud, project: Project) -> None:
    (project.folder / "conftest.py").write_text(SHORT_DEADLINES)
    for rpc in ("SandboxCreateV2", "TaskExecStart", "TaskExecStdioRead", "SandboxTerminateV2"):
        cloud.server.fault(rpc, "hang")
    done = run(project, 2, WRITE_HELLO, timeout=4)
    assert done.code == 0, done.said
    assert {status for status, _, _ in told(project)} == {"passed"}
    assert [cause for _, _, earlier in told(project) for cause in earlier] == ["sandbox_lost"] * 3

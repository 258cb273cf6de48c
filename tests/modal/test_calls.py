"""How many calls of Modal a trial takes in a whole run."""

from __future__ import annotations

from tests.sandbox.modal_bench import needs_root
from tests.support.modal_runs import Cloud, Project
from tests.support.suites import WRITE_HELLO, hello_task, write_suite

pytestmark = needs_root

BUDGET = 5
"""Calls for a trial beyond those of its commands."""
COMMANDS = 2
"""Of a trial here: the agent's, and that of its `run` check."""
COMMAND = 3
"""Calls for one: start, its input, its output."""


def calls_of(cloud: Cloud, project: Project, trials: int) -> dict[str, int]:
    """What a run of so many trials calls from this machine: sandboxes, volume, and the run's record.

    The gateway's own calls, from its container, are left out: its shelf is a Dict.
    """
    names = [f"task{number}" for number in range(trials)]
    write_suite(
        project.folder / "suite", [hello_task(name) for name in names], dict.fromkeys(names, WRITE_HELLO)
    )
    cloud.server.reset_calls()
    done = project.pytest("suite", "--goat-parallel=4")
    assert done.code == 0, done.said
    return {rpc: count for rpc, count in cloud.server.calls().items() if not rpc.startswith("Dict")}


def test_calls_of_a_trial(cloud: Cloud, project: Project) -> None:
    few, many = calls_of(cloud, project, 3), calls_of(cloud, project, 6)
    more = {rpc: (many[rpc] - few.get(rpc, 0)) / 3 for rpc in many if many[rpc] != few.get(rpc, 0)}
    assert sum(more.values()) - COMMANDS * COMMAND <= BUDGET, more
    assert more["SandboxCreateV2"] == more["SandboxTerminateV2"] == 1
    assert more["TaskExecStart"] == COMMANDS

"""`goat` beside a run on Modal."""

from __future__ import annotations

import json

from tests.modal_server.faults import ALWAYS
from tests.sandbox.modal_bench import needs_root
from tests.support.modal_runs import Cloud, Project
from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite

pytestmark = needs_root

IMPATIENT = "import pytest_goat.store.send\n\npytest_goat.store.send.PAUSES = (0.1,)\n"
"""A conftest.py: a volume that does not answer is given up soon."""


def write_two(project: Project) -> None:
    tasks = [hello_task("right"), hello_task("wrong")]
    write_suite(project.folder / "suite", tasks, {"right": WRITE_HELLO, "wrong": WRITE_WRONG})


def test_results_that_could_not_be_sent_are_sent_later(cloud: Cloud, project: Project) -> None:
    write_two(project)
    (project.folder / "conftest.py").write_text(IMPATIENT)
    cloud.server.fault("VolumePutFiles2", "unavailable", times=ALWAYS)
    done = project.pytest("suite")
    assert done.code == 1, done.said
    run_id = project.run_id
    assert f"nothing is lost, `goat push {run_id}` sends them" in done.said
    assert {name: trial["status"] for name, trial in project.trials().items()} == {
        "right": "passed",
        "wrong": "failed",
    }
    assert project.goat("results", run_id, "--modal").code == 4

    cloud.server.clear_faults()
    pushed = project.goat("push")
    assert pushed.code == 0, pushed.said
    assert f"{run_id}: " in pushed.said
    assert "files sent" in pushed.said
    in_volume, here = project.results(run_id, "--modal"), project.results(run_id)
    assert in_volume["trials"] == here["trials"]
    assert in_volume["summary"] == here["summary"]
    assert project.goat("push").said == "all 1 runs are in the volume goat-results\n"


def test_one_prompt_on_modal_is_sent_to_the_volume_too(cloud: Cloud, project: Project) -> None:
    (project.folder / "replay").mkdir()
    (project.folder / "replay" / "prompt.yaml").write_text(json.dumps({"turns": WRITE_HELLO}))
    words = ("run", "Write hello.txt", "--record", "kept", "--model")
    done = project.goat(*words, "replay")
    assert done.code == 0, done.said
    assert "Done: hello.txt says hello." in done.said
    assert "goat push" not in done.said
    in_volume, here = project.results(project.run_id, "--modal"), project.results(project.run_id)
    assert in_volume["trials"] == here["trials"]
    assert in_volume["run"]["finished"] == here["run"]["finished"] != ""
    assert project.goat("push").said == "all 1 runs are in the volume goat-results\n"

    (project.folder / ".goat").rename(project.folder / "before")
    cloud.server.fault("VolumePutFiles2", "unavailable", times=ALWAYS)
    late = project.goat(*words, "replay:kept")
    assert late.code == 0, late.said
    assert "Done: hello.txt says hello." in late.said
    assert f"nothing is lost, `goat push {project.run_id}` sends them" in late.said


def test_what_goat_says_when_there_is_nothing_to_say(project: Project) -> None:
    assert project.python("-m", "modal", "environment", "create", "unused").code == 0
    early = project.goat("results", "20200101-000000-0000", "--modal-env", "unused")
    assert early.code == 4
    assert "no volume goat-results in the Modal environment unused yet" in early.said
    write_suite(project.folder / "suite", [hello_task("right")], {"right": WRITE_HELLO})
    assert project.pytest("suite").code == 0
    unknown = project.goat("results", "20200101-000000-0000")
    assert unknown.code == 4
    assert "no run '20200101-000000-0000'" in unknown.said
    nowhere = project.goat("cleanup", "--modal-env", "nowhere")
    assert nowhere.code == 4
    assert "python infra/setup.py --env nowhere" in nowhere.said
    no_age = project.goat("cleanup", "--older-than", "soon")
    assert "'soon' is no age: write 30m, 1h or 2d" in no_age.said
    for done in (early, unknown, nowhere, no_age):
        assert "Traceback" not in done.said


def test_models_and_rows_of_ones_own(project: Project) -> None:
    (project.folder / "mine.yaml").write_text(
        "mine:\n  provider: openai\n  route: openai/mine\n  env: {api_key: MINE_API_KEY}\n"
        "  context: 1000\n  max_output: 100\n"
    )
    told = project.goat("models", "--models", "mine.yaml", MINE_API_KEY="sk-of-mine-0123456789")
    assert told.code == 0, told.said
    assert "gpt-5-mini" in told.said
    (row,) = (line for line in told.said.splitlines() if line.startswith("mine "))
    assert "sk-of-mine" not in told.said
    assert "MINE_API_KEY" not in row  # it is there
    (project.folder / "wrong.yaml").write_text("mine:\n  provider: openai\n  rout: openai/mine\n")
    wrong = project.goat("models", "--models", "wrong.yaml")
    assert wrong.code == 4
    assert "wrong.yaml:3" in wrong.said
    assert "Traceback" not in wrong.said

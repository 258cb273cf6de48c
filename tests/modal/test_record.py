"""`--goat-record` on Modal, where the deployed gateway hears what is answered."""

from __future__ import annotations

import json

from tests.support.modal_runs import Project
from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite


def test_what_was_recorded_on_modal_replays_here(project: Project) -> None:
    tasks = [
        hello_task("right"),
        hello_task("wrong"),
        hello_task("judged", checks=[{"judge": "Is it kind?"}]),
    ]
    turns = {"right": WRITE_HELLO, "wrong": WRITE_WRONG, "judged": WRITE_HELLO}
    suite = write_suite(project.folder / "suite", tasks, turns)
    (suite / "replay-judge").mkdir()
    verdict = json.dumps({"score": 0.9, "reason": "It says hello."})
    (suite / "replay-judge" / "judged.yaml").write_text(json.dumps({"turns": [{"text": verdict}]}))

    def verdicts(folder: str, backend: str, *options: str) -> dict[str, str]:
        judge = ("--goat-judge-model", f"replay:{folder}-judge", "--goat-backend", backend)
        done = project.pytest("suite", "--goat-model", f"replay:{folder}", *judge, *options)
        assert "Traceback" not in done.said
        trials = {task: trial["status"] for task, trial in project.trials().items()}
        (project.folder / ".goat").rename(project.folder / f"goat-{backend}")
        return trials

    on_modal = verdicts("replay", "modal", "-n", "2", "--goat-record", "kept")
    assert on_modal == {"right": "passed", "wrong": "failed", "judged": "passed"}
    assert verdicts("kept", "local") == on_modal

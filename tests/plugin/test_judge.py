"""Judge checks, from the option to the stored reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.runs import stored_trials
from tests.support.suites import WRITE_HELLO, hello_task, write_suite


def judged_suite(folder: Path, verdict: str) -> None:
    write_suite(folder, [hello_task("one", checks=[{"judge": "Is it kind?"}])], {"one": WRITE_HELLO})
    (folder / "replay-judge").mkdir()
    (folder / "replay-judge" / "one.yaml").write_text(json.dumps({"turns": [{"text": verdict}]}))


@pytest.mark.parametrize(("score", "status"), [(0.9, "passed"), (0.1, "failed")])
def test_a_judge_decides_and_its_reason_and_cost_are_kept(
    pytester: pytest.Pytester, score: float, status: str
) -> None:
    judged_suite(pytester.path / "suite", json.dumps({"score": score, "reason": "It says hello."}))
    pytester.runpytest_subprocess("suite", "--goat-judge-model", "replay:replay-judge")
    trial = stored_trials(pytester.path)["one"]
    assert trial["status"] == status
    assert trial["checks"][0]["score"] == score
    assert "It says hello." in json.dumps(trial["checks"][0]["details"])
    assert trial["details"]["judge_usage"]["prompt_tokens"] > 0
    assert len(trial["calls"]) == 2


def test_without_a_judge_no_trial_is_run(pytester: pytest.Pytester) -> None:
    judged_suite(pytester.path / "suite", "{}")
    result = pytester.runpytest_subprocess("suite")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--goat-judge-model*"])

"""Stored records: they come back as they were, and older or newer ones can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from pytest_goat.redact import MARK, Redactor
from pytest_goat.report.summary import summarize
from pytest_goat.result import AgentInfo, GateVerdict, Git, RunRecord, RunSummary, TrialResult, Verdict
from pytest_goat.task import GateRule
from tests.support.results import make_result, make_results, trial_results

RECORD = RunRecord(
    run_id="20261124-053614-7f3a",
    started="2026-11-24T05:36:14+00:00",
    finished="2026-11-24T05:40:00+00:00",
    argv=("pytest", "benchmarks"),
    settings={"parallel": 4},
    versions={"python": "3.11"},
    git=Git("abc", dirty=True),
    models=("gpt-5-mini",),
    agent=AgentInfo("goat-eval", "1"),
    backend="local",
    gateway="replay",
)
GATE = GateVerdict("gate", GateRule(0.8), Verdict.HOLDS, "words", 4, 5, 0, 0.8, (0.4, 0.9))
SUMMARY = summarize(make_results(3, 1, errors=1), run_id="r", gates=[GATE], duration=2.0)


def stored(record: TrialResult | RunRecord | RunSummary) -> Any:
    return json.loads(json.dumps(record.to_json()))


@given(trial_results)
def test_a_trial_comes_back_as_it_was(result: TrialResult) -> None:
    assert TrialResult.from_json(stored(result)) == result


def test_a_run_comes_back_as_it_was() -> None:
    assert RunRecord.from_json(stored(RECORD)) == RECORD
    assert RunSummary.from_json(stored(SUMMARY)) == SUMMARY


def test_newer_records_with_more_fields_are_read() -> None:
    newer = stored(SUMMARY) | {"version": 2, "new": 1}
    newer["totals"]["new"] = newer["gates"][0]["new"] = newer["gates"][0]["rule"]["new"] = 1
    assert RunSummary.from_json(newer).totals == SUMMARY.totals
    assert RunRecord.from_json(stored(RECORD) | {"new": 1}) == RECORD


def test_older_records_with_fewer_fields_are_read() -> None:
    assert RunRecord.from_json({"run_id": "r"}) == RunRecord("r")
    assert RunSummary.from_json({"run_id": "r", "totals": {}}).totals.trials == 0


@pytest.mark.parametrize("record", [RunRecord, RunSummary, TrialResult])
@pytest.mark.parametrize("data", [{}, [], None, {"run_id": "r", "git": 1, "totals": 1}])
def test_what_is_no_record_is_a_value_error(record: type[Any], data: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        record.from_json(data)


def test_details_may_be_deeper_than_a_recursion_goes() -> None:
    details: dict[str, Any] = {}
    for _ in range(5000):
        details = {"deeper": details}
    assert make_result(details=details).to_json()["details"] is details


def test_a_redacted_result_has_no_secret_left() -> None:
    result = make_result(answer="the key is hunter22", details={"env": ["hunter22"]}, tags=("hunter22",))
    clean = result.redacted(Redactor(["hunter22"]))
    assert clean.answer == f"the key is {MARK}"
    assert "hunter22" not in json.dumps(clean.to_json())
    assert clean.trial_id == result.trial_id
    assert result.redacted(Redactor(["something else"])) == result

"""What `goat results` prints."""

from __future__ import annotations

import json

from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.report.listing import run_json, run_text, runs_text
from pytest_goat.report.summary import summarize, summary_of
from pytest_goat.result import AgentInfo, Attempt, Git, RunRecord, Status, TrialResult
from pytest_goat.store.folder import StoredRun
from tests.support.results import make_result, make_results

RECORD = RunRecord(
    "20261124-053614-7f3a",
    started="2026-11-24T05:36:14+00:00",
    finished="2026-11-24T05:40:00+00:00",
    argv=("pytest", "benchmarks"),
    versions={"python": "3.11.7"},
    git=Git("0123456789abcdef", dirty=True),
    models=("gpt-5-mini",),
    agent=AgentInfo("goat-eval", "1.0"),
    backend="local: namespaces",
    gateway="direct",
)
CALL = ModelCall(0.0, 1.5, 0.2, 200, None, "", "gpt-5-mini", "gpt-5-mini-2025", "stop", 0, Usage(100, 0, 20))
LOST = ModelCall(2.0, 0.1, None, 0, Cause.STREAM_CUT, "cut", "gpt-5-mini", "", "", 0, Usage())
FAILED = make_result(
    status=Status.FAILED,
    cause=Cause.CHECKS_FAILED,
    score=0.5,
    turns=2,
    checks=(CheckResult("run: x", "run", 0.0, False, expected="exit 0", seen="exit 1\nboom"),),
    answer="I did\x1b[2J it",
    calls=(CALL, LOST),
    attempts=(Attempt(Cause.AUTH, "401", 1.0),),
)


def stored(*results: TrialResult, record: RunRecord = RECORD) -> StoredRun:
    return StoredRun(record, results, None, ("trials/cut.json: not a trial record",))


def test_runs_are_a_table() -> None:
    killed = RunRecord("20261123-010203-0b1c")
    summary = summarize(make_results(3, 1, usage=Usage(1, 0, 1, 0, 0.5)), duration=61.0)
    assert runs_text([(RECORD, summary), (killed, summarize([]))]).splitlines() == [
        "run                            started     models trials  rate  cost  time",
        "20261124-053614-7f3a  2026-11-24 05:36 gpt-5-mini      4 75.0% $2.00 1m01s",
        "20261123-010203-0b1c*                -          -      0     -     -  0.0s",
        "* not finished: it runs still, or was killed",
    ]


def test_a_run_says_what_it_was_and_how_each_trial_went() -> None:
    run = stored(FAILED, make_result("2", node_id="benchmarks/basics/fizz.yaml::fizz[gpt-5-mini]"))
    text = run_text(run, summary_of(run), path="results/x")
    for told in (
        "run      20261124-053614-7f3a",
        "started  2026-11-24 05:36 UTC",
        "command  pytest benchmarks",
        "agent    goat-eval 1.0",
        "commit   0123456789ab (with changes)",
        "  failed: 1 of 1 check: run: x",
        "unreadable: trials/cut.json: not a trial record",
        "results: results/x (goat results 20261124-053614-7f3a)",
    ):
        assert told in text.splitlines()
    rows = [line.split() for line in text.splitlines() if "::" in line]
    assert [row[1:4] for row in rows] == [["failed", "0.50", "2"], ["passed", "-", "0"]]
    assert max(map(len, text.splitlines())) <= 80
    assert "not finished" not in text
    assert "I did" not in text


def test_full_adds_answer_checks_calls_and_attempts() -> None:
    run = stored(FAILED)
    lines = [line.strip() for line in run_text(run, summary_of(run), full=True).splitlines()]
    for told in (
        "attempt 1: auth after 1.0s: 401",
        "check FAILED: run: x (0)",
        "expected: exit 0",
        "seen: exit 1",
        "boom",
        "call 1: 200 gpt-5-mini-2025, 120 tokens, 1.5s, stop",
        "call 2: 0 gpt-5-mini, 0 tokens, 0.1s, stream_cut: cut",
        "I did it",
    ):
        assert told in lines


def test_json_has_everything() -> None:
    run = stored(FAILED)
    data = json.loads(run_json(run, summary_of(run)))
    assert set(data) == {"run", "summary", "trials", "unreadable"}
    assert [TrialResult.from_json(trial) for trial in data["trials"]] == [FAILED]
    assert RunRecord.from_json(data["run"]) == RECORD
    assert data["unreadable"] == ["trials/cut.json: not a trial record"]


def test_a_killed_run_says_so() -> None:
    run = stored(record=RunRecord("r"))
    assert "not finished: it runs still, or was killed" in run_text(run, summary_of(run))

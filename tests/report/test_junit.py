"""JUnit, parsed back."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gate import Gate, evaluate
from pytest_goat.gateway.base import Usage
from pytest_goat.report.junit import suite_properties, trial_properties, write_junit
from pytest_goat.report.summary import summarize
from pytest_goat.result import Attempt, Phases, Status, TrialResult
from pytest_goat.task import GateRule
from tests.support.junit_schema import assert_valid
from tests.support.results import make_result, make_results, trial_results


def written(tmp_path: Path, results: list[TrialResult]) -> ET.Element:
    path = tmp_path / "junit.xml"
    write_junit(path, results, summarize(results, run_id="run"))
    root = ET.fromstring(path.read_bytes())
    assert_valid(root)
    return root


def properties(element: ET.Element) -> dict[str, str]:
    return {p.attrib["name"]: p.attrib["value"] for p in element.findall("properties/property")}


def test_suites_and_cases_are_counted(tmp_path: Path) -> None:
    results = [
        *make_results(2, 1, errors=1, skipped=1, suite="b", phases=Phases(total=700.5)),
        *make_results(1, suite=""),
    ]
    root = written(tmp_path, results)
    expected = {"name": "pytest-goat", "tests": "6", "failures": "1", "errors": "1", "time": "3502.500"}
    assert root.attrib == expected
    assert [(s.attrib["name"], s.attrib["tests"], s.attrib["skipped"]) for s in root] == [
        ("(no suite)", "1", "0"),
        ("b", "5", "1"),
    ]
    assert [len(root.findall(f".//{tag}")) for tag in ("failure", "error", "skipped")] == [1, 1, 1]


def test_a_failed_case_says_why(tmp_path: Path) -> None:
    check = CheckResult("run: python x", "run", 0.0, False, expected="exit 0", seen="exit 1")
    result = make_result(
        status=Status.FAILED,
        cause=Cause.CHECKS_FAILED,
        checks=(check,),
        answer="done\x1b[31m!",
        started="2026-11-24T05:36:14+00:00",
    )
    root = written(tmp_path, [result])
    case = root.find("testsuite/testcase")
    assert case is not None
    assert case.attrib["classname"] == "benchmarks.basics.reverse"
    assert case.attrib["name"] == "reverse[gpt-5-mini]"
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "checks_failed", "message": "failed: 1 of 1 check: run: python x"}
    assert failure.text == "the check failed:\n\nrun: python x\n  expected: exit 0\n  seen: exit 1"
    assert case.findtext("system-out") == "done!"
    assert root[0].attrib["timestamp"] == "2026-11-24T05:36:14+00:00"


def test_a_case_has_its_properties() -> None:
    result = make_result(
        status=Status.ERROR,
        cause=Cause.AUTH,
        score=0.25,
        usage=Usage(10, 1, 2, 0, 0.5),
        phases=Phases(0.1, 2.0, 0.3, 2.5),
        attempts=(Attempt(Cause.AUTH, "401", 1.0),),
    )
    found = dict(trial_properties(result, Path("results/run-1/trials/t.json")))
    assert found == {
        "goat_run": "run-1",
        "goat_trial": "basics-reverse-1",
        "goat_record": "results/run-1/trials/t.json",
        "goat_suite": "benchmarks/basics",
        "goat_model": "gpt-5-mini",
        "goat_variant": "baseline",
        "goat_agent": "goat-eval",
        "goat_epoch": "1",
        "goat_status": "error",
        "goat_cause": "auth",
        "goat_score": "0.25",
        "goat_turns": "0",
        "goat_prompt_tokens": "10",
        "goat_cached_tokens": "1",
        "goat_completion_tokens": "2",
        "goat_reasoning_tokens": "0",
        "goat_cost": "0.500000",
        "goat_seconds_open": "0.100",
        "goat_seconds_agent": "2.000",
        "goat_seconds_checks": "0.300",
        "goat_seconds": "2.500",
        "goat_retries": "1",
    }


def test_the_same_properties_are_in_the_file(tmp_path: Path) -> None:
    result = make_result()
    case = written(tmp_path, [result]).find("testsuite/testcase")
    assert case is not None
    assert properties(case) == dict(trial_properties(result, Path("run/trials/basics-reverse-1.json")))


def test_suites_have_rates_by_model(tmp_path: Path) -> None:
    results = [*make_results(3, 1, model="x"), *make_results(1, model="y", variant="+skills")]
    assert properties(written(tmp_path, results)[0]) == {
        "goat_run": "run",
        "goat[x]_pass_rate": "0.7500",
        "goat[x]_pass_rate_low": "0.3006",
        "goat[x]_pass_rate_high": "0.9544",
        "goat[y+skills]_pass_rate": "1.0000",
        "goat[y+skills]_pass_rate_low": "0.2065",
        "goat[y+skills]_pass_rate_high": "1.0000",
    }


def test_the_whole_has_rates_and_gates() -> None:
    results = [*make_results(3, 1), *make_results(errors=1, suite="broken")]
    verdicts = evaluate(results, [Gate("all", GateRule(0.5, max_errors=1))])
    found = dict(suite_properties(summarize(results, run_id="run", gates=verdicts)))
    assert found["goat_run"] == "run"
    assert found["goat_pass_rate"] == found["goat[benchmarks/basics][gpt-5-mini]_pass_rate"] == "0.7500"
    assert not any("broken" in name for name in found)
    assert found["goat_gate[all]"].startswith("holds: 75.0% of 4")


hostile_text = st.text(st.characters(), min_size=1)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(trial_results, max_size=2), hostile_text)
def test_any_result_gives_a_valid_file(tmp_path: Path, results: list[TrialResult], text: str) -> None:
    nasty = make_result(
        node_id=text, suite=text, model=text, answer=text, message=text, status=Status.FAILED, task_id=text
    )
    root = written(tmp_path, [*results, nasty])
    assert root.attrib["tests"] == str(len(results) + 1)

"""What a run leaves: the store, JUnit, and what `goat results` makes of it."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    write_suite(
        pytester.path / "suite",
        [hello_task("one"), hello_task("two")],
        {"one": WRITE_HELLO, "two": WRITE_WRONG},
    )
    return pytester


def goat(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-m", "pytest_goat.cli", *words)


def the_run(pytester: pytest.Pytester) -> Path:
    (record,) = (pytester.path / ".goat/results").glob("*/run.json")
    return record.parent


def test_a_result_that_cannot_be_written_is_an_error(suite: pytest.Pytester) -> None:
    suite.makeconftest("""
        import pathlib, pytest, shutil
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtestloop():
            for trials in pathlib.Path(".goat/results").glob("*/trials"):
                shutil.rmtree(trials)
            return (yield)
    """)
    done = suite.runpytest_subprocess("suite")
    done.assert_outcomes(errors=2)
    done.stdout.fnmatch_lines(["the result of *one* cannot be written: *"])
    assert "Traceback" not in done.stdout.str()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_the_run_is_stored(suite: pytest.Pytester, workers: list[str]) -> None:
    suite.runpytest_subprocess("suite", *workers)
    run = the_run(suite)
    trials = {
        trial["task_id"]: trial
        for path in run.glob("trials/*.json")
        if (trial := json.loads(path.read_text()))
    }
    assert trials["one"]["status"] == "passed"
    assert trials["two"]["status"] == "failed"
    assert trials["two"]["cause"] == "checks_failed"
    assert trials["one"]["turns"] == 2
    assert trials["one"]["usage"]["prompt_tokens"] > 0
    assert trials["one"]["changed"] == {"hello.txt": "added"}
    diff = (run / "trials" / trials["one"]["trial_id"] / "changes.diff").read_text()
    assert "+hello" in diff
    assert (run / "trials" / trials["one"]["trial_id"] / "trajectory.jsonl").stat().st_size
    record = json.loads((run / "run.json").read_text())
    assert record["models"] == ["replay"]
    assert record["agent"]["name"] == "goat-eval"
    assert record["backend"].startswith("local/")
    assert record["finished"]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["totals"]["passed"], summary["totals"]["failed"]) == (1, 1)
    assert (suite.path / ".goat/results/.gitignore").read_text() == "*\n"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_junit(suite: pytest.Pytester, workers: list[str]) -> None:
    suite.runpytest_subprocess("suite", "--junitxml=out.xml", *workers)
    for path in (suite.path / "out.xml", the_run(suite) / "junit.xml"):
        cases = {case.get("name", ""): case for case in ET.parse(path).iter("testcase")}
        assert len(cases) == 2, path
        failed = cases["two[replay]"].find("failure")
        assert failed is not None
        assert cases["one[replay]"].find("failure") is None
        assert float(cases["one[replay]"].get("time", "0")) > 0.01
        properties = {p.get("name"): p.get("value") for p in cases["one[replay]"].iter("property")}
        assert properties["goat_model"] == "replay"
        assert properties["goat_status"] == "passed"
        assert "goat_result" not in properties
    whole = {p.get("name") for p in ET.parse(suite.path / "out.xml").iter("property")}
    assert any(name and "pass_rate" in name for name in whole)


def test_goat_results_shows_them(suite: pytest.Pytester) -> None:
    suite.runpytest_subprocess("suite")
    run = the_run(suite)
    listing = goat(suite, "results")
    listing.stdout.fnmatch_lines([f"{run.name}*replay*2*50.0%*"])
    shown = goat(suite, "results", "latest", "--full")
    shown.stdout.fnmatch_lines(["*one[[]replay]*passed*", "*two[[]replay]*failed*", "*hello.txt*"])
    data = json.loads(goat(suite, "results", run.name, "--json").stdout.str())
    assert {trial["task_id"] for trial in data["trials"]} == {"one", "two"}
    missing = goat(suite, "results", "nonsense")
    assert missing.ret == 4
    missing.stderr.fnmatch_lines(["goat: no run 'nonsense'*"])


def test_goat_schema_is_a_json_schema(pytester: pytest.Pytester) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(goat(pytester, "schema").stdout.str())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate({"id": "a", "prompt": "Do it.", "checks": [{"file": "x"}]})


def test_goat_run_gives_one_prompt(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "replay"
    folder.mkdir()
    (folder / "prompt.yaml").write_text(json.dumps({"turns": WRITE_HELLO}))
    result = goat(pytester, "run", "Write hello.txt", "--model", "replay")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["Done: hello.txt says hello.", "added: hello.txt", "usage: 2 turns*"])
    nameless = goat(pytester, "run", "Write hello.txt")
    assert nameless.ret == 4
    nameless.stderr.fnmatch_lines(["goat: which model?*"])


@pytest.mark.parametrize("options", [("--max-turns", "0"), ("--timeout", "0"), ("--timeout", "nan")])
def test_goat_run_refuses_limits_that_are_none(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = goat(pytester, "run", "Write hello.txt", "--model", "replay", *options)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["goat: --max-turns must be at least 1*"])
    assert not (pytester.path / ".goat").exists()

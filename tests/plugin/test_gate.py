"""Gates and exit codes."""

from __future__ import annotations

import json

import pytest

from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite


def suite_of(
    pytester: pytest.Pytester, passed: int, failed: int, name: str = "suite", **suite: object
) -> None:
    good = [f"good{n}" for n in range(passed)]
    bad = [f"bad{n}" for n in range(failed)]
    recordings = dict.fromkeys(good, WRITE_HELLO) | dict.fromkeys(bad, WRITE_WRONG)
    write_suite(pytester.path / name, [hello_task(task) for task in good + bad], recordings, **suite)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 1, None),
        (["--goat-min-pass-rate", "0.7"], 0, "gate --goat-min-pass-rate: holds: 75.0% of 4*"),
        (["--goat-min-pass-rate", "0.8"], 1, "gate --goat-min-pass-rate: BROKEN: 75.0% of 4*"),
        (["--goat-min-pass-rate", "0.7", "--goat-gate-confidence", "0.95"], 6, "*UNDECIDED*"),
        (["--goat-min-pass-rate", "0.1", "--goat-gate-confidence", "0.95"], 0, "*holds*"),
    ],
)
def test_the_command_lines_gate(
    pytester: pytest.Pytester, options: list[str], code: int, words: str | None
) -> None:
    suite_of(pytester, 3, 1)
    result = pytester.runpytest_subprocess("suite", *options)
    result.assert_outcomes(passed=3, failed=1)
    assert result.ret == code
    if words:
        result.stdout.fnmatch_lines([words])


def test_a_suites_own_gate(pytester: pytest.Pytester) -> None:
    suite_of(pytester, 3, 1, gate={"pass_rate": 0.7})
    assert pytester.runpytest_subprocess("suite").ret == 0
    assert pytester.runpytest_subprocess("suite", "-n", "2").ret == 0


def test_a_failure_outside_every_gate_still_fails(pytester: pytest.Pytester) -> None:
    suite_of(pytester, 1, 0, "gated", gate={"pass_rate": 0.5})
    suite_of(pytester, 0, 1, "free")
    assert pytester.runpytest_subprocess("gated", "free").ret == 1
    assert pytester.runpytest_subprocess("gated").ret == 0


def test_an_ordinary_failure_still_fails(pytester: pytest.Pytester) -> None:
    suite_of(pytester, 1, 0, gate={"pass_rate": 0.5})
    pytester.makepyfile(test_plain="def test_it():\n    assert False\n")
    assert pytester.runpytest_subprocess("suite", "test_plain.py").ret == 1


def test_errors_fail_the_gate_and_stay_out_of_the_rate(pytester: pytest.Pytester) -> None:
    suite_of(pytester, 2, 0)
    (pytester.path / "suite/short.yaml").write_text(json.dumps(hello_task("short")))
    (pytester.path / "suite/replay/short.yaml").write_text(json.dumps({"turns": WRITE_HELLO[:1]}))
    recording = json.dumps({"turns": [{"tools": [{"Bash": {"command": "true"}}]}]})
    (pytester.path / "suite/replay/short.yaml").write_text(recording)
    result = pytester.runpytest_subprocess("suite", "--goat-min-pass-rate", "0.9")
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*gate*1 infrastructure error, 0 tolerated*"])
    tolerated = pytester.runpytest_subprocess(
        "suite", "--goat-min-pass-rate", "0.9", "--goat-max-errors", "1"
    )
    assert tolerated.ret == 0
    tolerated.stdout.fnmatch_lines(["*100.0% of 2*"])


def test_nothing_collected_stays_5(pytester: pytest.Pytester) -> None:
    suite_of(pytester, 1, 0)
    assert pytester.runpytest_subprocess("suite", "-k", "nothing", "--goat-min-pass-rate", "1").ret == 5

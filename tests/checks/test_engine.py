from __future__ import annotations

import pytest

from pytest_goat.checks import describe_failure, score
from pytest_goat.checks.base import CheckResult
from pytest_goat.checks.engine import check_names
from pytest_goat.errors import SandboxError
from pytest_goat.task import Check, FileCheck, JudgeCheck, OutputCheck, RunCheck
from tests.checks.arena import Arena


def result(points: float, *, passed: bool | None = None, weight: float = 1.0) -> CheckResult:
    return CheckResult("a", "run", points, points == 1 if passed is None else passed, weight)


@pytest.mark.parametrize(
    ("results", "threshold", "expected"),
    [
        ([result(1), result(1)], 1.0, (1.0, True)),
        ([result(1), result(0)], 1.0, (0.5, False)),
        ([result(1), result(0)], 0.5, (0.5, True)),
        ([result(1, weight=2), result(0)], 0.7, (2 / 3, False)),
        ([result(1, weight=3), result(0)], 0.7, (0.75, True)),
        ([result(0.7, passed=True), result(1)], 1.0, (0.85, True)),
        ([result(0.7, passed=False), result(1)], 1.0, (0.85, False)),
        ([result(1), result(0, weight=0)], 1.0, (1.0, True)),
        ([result(0, weight=0)], 1.0, (1.0, True)),
        ([result(1, weight=0.1)] * 7 + [result(0, weight=0.1)] * 3, 0.7, (0.7, True)),
        ([], 1.0, (1.0, True)),
    ],
)
def test_score(results: list[CheckResult], threshold: float, expected: tuple[float, bool]) -> None:
    mean, passes = score(results, threshold)
    assert mean == pytest.approx(expected[0])
    assert passes is expected[1]


def test_names_are_short_and_unique() -> None:
    checks = [
        RunCheck(run="python -m pytest -q"),
        RunCheck(run="python -m pytest -q"),
        RunCheck(run="cd x\n" + "y" * 100),
        RunCheck(name="my own", run="x"),
        FileCheck(name="my own", file="x"),
        FileCheck(file="reverse.py"),
        FileCheck(file="tmp", exists=False),
        OutputCheck(contains=("done", "more")),
        OutputCheck(matches="(?i)done"),
        OutputCheck(equals="42"),
        OutputCheck(json_equals=None, has_json=True),
        JudgeCheck(rubric="Is it kind?\nIs it true?"),
    ]
    assert check_names(checks) == [
        "run: python -m pytest -q",
        "run: python -m pytest -q (2)",
        f"run: cd x {'y' * 52}...",
        "my own",
        "my own (2)",
        "file: reverse.py",
        "file: no tmp",
        "output: contains done",
        "output: matches (?i)done",
        "output: is 42",
        "output: JSON",
        "judge: Is it kind? Is it true?",
    ]


def test_results_stand_in_the_tasks_order_though_files_are_looked_at_first(arena: Arena) -> None:
    async def judge(prompt: str) -> str:
        return f'{{"score": {int("untouched" in prompt)}, "reason": ""}}'

    results = arena.after_agent(
        RunCheck(run="echo touched > a.txt"),
        JudgeCheck(rubric="?", files=("a.txt",)),
        FileCheck(file="a.txt", equals="untouched", weight=2),
        OutputCheck(contains=("done",)),
        RunCheck(run="grep -qx touched a.txt"),
        left={"a.txt": "untouched"},
        answer="done",
        judge=judge,
    )
    assert [found.kind for found in results] == ["run", "judge", "file", "output", "run"]
    assert all(found.passed for found in results), describe_failure(results)
    assert results[2].weight == 2
    assert results[0].duration > 0


def test_nothing_a_check_does_raises(arena: Arena) -> None:
    results = arena.after_agent(
        FileCheck(file="a", matches="("),
        OutputCheck(json_schema={"$ref": "#/nowhere"}),
        JudgeCheck(rubric="?"),
        RunCheck(run="true", files={"../a": ""}),
        RunCheck(run="true", files={"a": "\ud800"}),
        RunCheck(run="true"),
        left={"a": ""},
        answer="{}",
    )
    assert [bool(found.error) for found in results] == [True, True, True, True, True, False]
    assert [found.passed for found in results] == [False] * 5 + [True]


@pytest.mark.parametrize("check", [RunCheck(run="true"), FileCheck(file="a")])
def test_a_lost_sandbox_is_no_finding(check: Check, arena: Arena) -> None:
    with pytest.raises(SandboxError):
        arena.after_agent(check, lost=True)


def test_the_failure_text() -> None:
    results = [
        CheckResult("file: a.txt", "file", 1.0, True),
        CheckResult(
            "run: make test",
            "run",
            0.0,
            False,
            expected="exit code 0, from: make test",
            seen="exit code 2\noutput:\n| one\n|\n| two",
        ),
        CheckResult("judge: kind", "judge", 0.25, False, expected="at least 0.5", seen="0.25: Rude."),
        CheckResult("judge: true", "judge", 0.0, False, error="no judge model is set"),
    ]
    assert (
        describe_failure(results)
        == """\
3 of 4 checks failed:

run: make test
  expected: exit code 0, from: make test
  seen: exit code 2
    output:
    | one
    |
    | two

judge: kind
  score: 0.25
  expected: at least 0.5
  seen: 0.25: Rude.

judge: true
  could not be run: no judge model is set"""
    )
    assert describe_failure(results[:1]) == ""
    assert describe_failure(results[1:2]).startswith("the check failed:\n\nrun: make test\n")

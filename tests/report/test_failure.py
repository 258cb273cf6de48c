"""The text of a trial that did not pass."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_goat.checks import describe_failure
from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import Usage
from pytest_goat.report.advice import ADVICE
from pytest_goat.report.failure import failure_text, headline
from pytest_goat.result import Attempt, Phases, Status, TrialResult
from tests.support.results import make_result

GOOD = CheckResult("file: reverse.py", "file", 1.0, True)
BAD = CheckResult("run: python -m pytest -q", "run", 0.0, False, expected="exit 0", seen="exit 1")
FAILED = make_result(
    status=Status.FAILED,
    cause=Cause.CHECKS_FAILED,
    message="1 of 2 checks failed",
    checks=(GOOD, BAD),
    answer="\n".join(f"line {n}" for n in range(1, 31)),
    turns=5,
    usage=Usage(12_000, 0, 345, 0, 0.0123),
    phases=Phases(0.1, 12.0, 0.2, 12.3),
    changed={"reverse.py": "added", "notes.txt": "modified", "x.py": "added"},
)
ERROR = make_result(
    status=Status.ERROR,
    cause=Cause.RATE_LIMITED,
    message="429 to the end:\nslow down",
    attempts=(Attempt(Cause.UNREACHABLE, "connection refused", 0.4),),
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"checks": (GOOD, BAD)}, "failed: 1 of 2 checks: run: python -m pytest -q"),
        ({"checks": (BAD, BAD, GOOD)}, "failed: 2 of 3 checks: run: python -m pytest -q and 1 more"),
        ({"checks": (BAD,)}, "failed: 1 of 1 check: run: python -m pytest -q"),
        (
            {"cause": Cause.TURN_LIMIT, "message": "after 10 turns", "checks": (BAD,)},
            "failed: turn_limit: after 10 turns: 1 of 1 check: run: python -m pytest -q",
        ),
        (
            {"cause": Cause.AGENT_CRASHED, "message": "exit 139", "checks": ()},
            "failed: agent_crashed: exit 139",
        ),
        (
            {"status": Status.ERROR, "cause": Cause.AUTH, "message": "401", "checks": (BAD,)},
            "error: auth: 401",
        ),
        ({"status": Status.SKIPPED, "cause": None, "message": "no judge", "checks": ()}, "skipped: no judge"),
    ],
)
def test_the_first_line_says_it_all(fields: dict[str, Any], expected: str) -> None:
    given: dict[str, Any] = {"status": Status.FAILED, "cause": Cause.CHECKS_FAILED}
    result = make_result(**(given | fields))
    assert headline(result) == expected
    assert failure_text(result).splitlines()[0] == expected


def test_a_failure_shows_checks_output_changes_usage_and_record() -> None:
    text = failure_text(
        FAILED,
        checks=describe_failure(FAILED.checks),
        changes_diff="--- /dev/null\n+++ b/reverse.py\n@@ -0,0 +1,1 @@\n+x\n",
        stderr_tail="a warning",
        record_path=".goat/results/r/trials/t.json",
    )
    blocks = text.split("\n\n")
    assert blocks[0] == "failed: 1 of 2 checks: run: python -m pytest -q"
    assert blocks[1] == "1 of 2 checks failed:"
    assert blocks.pop(2) == "run: python -m pytest -q\n  expected: exit 0\n  seen: exit 1"
    assert blocks[2].splitlines()[:3] == [
        "--- end of the agent's answer",
        "[... 10 lines before ...]",
        "line 11",
    ]
    assert blocks[2].endswith("line 30")
    assert blocks[3] == "--- end of the agent's stderr\na warning"
    assert blocks[4].splitlines()[:2] == [
        "--- changes of the workspace: 2 added, 1 modified",
        "--- /dev/null",
    ]
    assert blocks[5].splitlines() == [
        "usage: 5 turns, 12.3k tokens, cost $0.0123, 12s (sandbox 0.1s, agent 12s, checks 0.2s)",
        "record: .goat/results/r/trials/t.json",
    ]


def test_an_error_shows_cause_attempts_and_what_to_do() -> None:
    text = failure_text(ERROR)
    assert text.startswith("error: rate_limited: 429 to the end: slow down\n")
    assert "attempt 1: gateway_unreachable after 0.4s: connection refused" in text
    assert f"rate_limited: {ADVICE[Cause.RATE_LIMITED]}" in text
    assert "workspace" not in text


def test_an_agent_that_changed_nothing_is_told_of() -> None:
    idle = make_result(status=Status.FAILED, cause=Cause.CHECKS_FAILED, phases=Phases(agent=1.0))
    assert "--- the workspace is unchanged" in failure_text(idle)


def test_long_diffs_are_cut() -> None:
    diff = "".join(f"+line {n}\n" for n in range(100))
    text = failure_text(FAILED, changes_diff=diff)
    assert "+line 59\n[... 40 more lines in the record ...]" in text
    assert "+line 60" not in text


def test_long_lines_are_cut() -> None:
    text = failure_text(make_result(status=Status.FAILED, message="m" * 10_000, answer="x" * 10**6))
    assert len(text) < 10_000
    assert len(text.splitlines()[0]) <= 300


def hostile(text: str) -> TrialResult:
    check = CheckResult(text, "run", 0.0, False, seen=text)
    return make_result(
        status=Status.FAILED, cause=Cause.NO_ANSWER, message=text, answer=text, checks=(check,)
    )


@pytest.mark.parametrize(
    "code", ["\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b2J", "\x07", "\u202e"]
)
def test_an_agent_cannot_steer_the_terminal(code: str) -> None:
    text = failure_text(hostile(f"before{code}after"), changes_diff=code, stderr_tail=code, checks=code)
    assert "before" in text
    assert "after" in text
    assert all(character.isprintable() or character == "\n" for character in text)

"""`--goat-confirm-cost`: what a run will cost is told before, and asked about where somebody can answer."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import the_run
from tests.support.suites import WRITE_HELLO, hello_task, write_suite


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    """A suite that was run once, when it cost two dollars."""
    folder = write_suite(pytester.path / "suite", [hello_task("hello")], {"hello": WRITE_HELLO})
    pytester.runpytest_subprocess("suite").assert_outcomes(passed=1)
    (record,) = (the_run(pytester.path) / "trials").glob("*.json")
    told = json.loads(record.read_text())
    told["usage"]["cost"] = 2.0
    record.write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_dear_run_is_refused_where_nobody_can_be_asked(
    pytester: pytest.Pytester, suite: Path, more: tuple[str, ...]
) -> None:
    result = pytester.runpytest_subprocess(
        "suite", "--goat-confirm-cost", "1", "-p", "no:cacheprovider", *more
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stdout.str() + result.stderr.str()
    assert "1 trial will cost about $2.00, and with 90 % certainty at most $2.00" in said
    assert "more than --goat-confirm-cost 1 allows" in said
    assert "Traceback" not in said


def test_a_cheap_run_just_runs(pytester: pytest.Pytester, suite: Path) -> None:
    pytester.runpytest_subprocess("suite", "--goat-confirm-cost", "2.5").assert_outcomes(passed=1)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 4), ("", 4)])
def test_somebody_at_the_terminal_is_asked(
    pytester: pytest.Pytester, suite: Path, answer: str, code: int
) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "suite", "--goat-confirm-cost", "1"],
        cwd=pytester.path,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    os.close(follower)
    os.write(leader, f"{answer}\n".encode())
    said = process.communicate(timeout=60)[0].decode()
    os.close(leader)
    assert process.returncode == code, said
    assert "Run them? [y/N]" in said

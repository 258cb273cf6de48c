"""The `goat` fixture: benchmarks written in Python."""

from __future__ import annotations

import json

import pytest

from tests.support.suites import WRITE_HELLO

TESTS = """
    import pytest

    def test_right(goat):
        run = goat.run("Write hello.txt", files={"notes.txt": "start here"})
        assert run.answer == "Done: hello.txt says hello."
        assert run.cause is None
        assert run.read("hello.txt") == "hello\\n"
        assert run.read("notes.txt") == "start here"
        run.put({"expected.txt": "hello\\n"})
        assert run.exec("cmp hello.txt expected.txt").ok
        assert run.exec("echo out; exit 3").exit_code == 3
        assert run.usage.prompt_tokens > 0

    def test_wrong(goat):
        run = goat.run("Write hello.txt")
        assert run.exec("grep bye hello.txt").ok

    def test_two_runs(goat):
        assert goat.run("Write hello.txt").exec("test -f hello.txt").ok
        assert goat.run("Write hello.txt", files={"a": "b"}).exec("test -f a").ok

    def test_no_recording_for_the_second_turn(goat):
        goat.run("Write hello.txt")
"""


def test_python_benchmarks(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "replay"
    folder.mkdir()
    for name in ("test_right", "test_wrong", "test_two_runs", "test_two_runs-2"):
        (folder / f"{name}.yaml").write_text(json.dumps({"turns": WRITE_HELLO}))
    short = [{"tools": [{"Bash": {"command": "true"}}]}]
    (folder / "test_no_recording_for_the_second_turn.yaml").write_text(json.dumps({"turns": short}))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, failed=1, errors=1)
    trials = [
        json.loads(path.read_text()) for path in (pytester.path / ".goat/results").glob("*/trials/*.json")
    ]
    status = {trial["task_id"]: trial["status"] for trial in trials}
    assert status == {
        "test_right": "passed",
        "test_wrong": "failed",
        "test_two_runs": "passed",
        "test_two_runs-2": "passed",
        "test_no_recording_for_the_second_turn": "error",
    }
    result.stdout.fnmatch_lines(["5 trials of replay*"])


def test_a_missing_recording_fails_the_test_with_words(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(goat):\n    goat.run('Do it.')\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cannot serve 1 of the tasks*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")

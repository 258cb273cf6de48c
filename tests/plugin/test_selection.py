"""What pytest's own options do with trials."""

from __future__ import annotations

import pytest

from tests.support.suites import WRITE_HELLO, WRITE_WRONG, hello_task, write_suite


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Three tasks in one suite: two are solved, one is not."""
    write_suite(
        pytester.path / "suite",
        [
            hello_task("one", tags=["easy"]),
            hello_task("two", tags=["hard"]),
            hello_task("three", tags=["easy"]),
        ],
        {"one": WRITE_HELLO, "two": WRITE_WRONG, "three": WRITE_HELLO},
    )
    return pytester


def test_passes_and_failures_are_told_apart(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("suite", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["failed: 2 of 2 checks: *", "FAILED suite/two.yaml::two[[]replay]*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*.py:*")


def test_where_prompt_files_are_looked_for_is_told_to_who_asks_for_some(suite: pytest.Pytester) -> None:
    hint = "goat: no prompt file was found. A suite is a folder with a goat.yaml*"
    (suite.path / "suite" / "goat.yaml").unlink()
    result = suite.runpytest_subprocess("suite", "--goat-model", "replay")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines([hint])
    suite.runpytest_subprocess("suite").stdout.no_fnmatch_line(hint)
    (suite.path / "suite" / "goat.yaml").touch()
    result = suite.runpytest_subprocess("suite", "--goat-model", "replay", "-k", "nothing")
    result.stdout.no_fnmatch_line(hint)


def test_collect_only_starts_nothing(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("suite", "--co", "-q")
    assert result.outlines[:3] == [
        "suite/one.yaml::one[replay]",
        "suite/three.yaml::three[replay]",
        "suite/two.yaml::two[replay]",
    ]
    assert not (suite.path / ".goat").exists()


@pytest.mark.parametrize(
    ("options", "passed", "failed"),
    [
        (["-k", "three"], 1, 0),
        (["-m", "easy"], 2, 0),
        (["-m", "easy", "--strict-markers"], 2, 0),
        (["-m", "not easy"], 0, 1),
        (["suite/one.yaml::one[replay]"], 1, 0),
        (["suite/two.yaml"], 0, 1),
    ],
)
def test_selection(suite: pytest.Pytester, options: list[str], passed: int, failed: int) -> None:
    where = [] if "suite/" in options[0] else ["suite"]
    result = suite.runpytest_subprocess(*where, *options, "-p", "no:cacheprovider")
    result.assert_outcomes(
        passed=passed, failed=failed, deselected=0 if "suite/" in options[0] else 3 - passed - failed
    )


def test_last_failed_runs_that_alone(suite: pytest.Pytester) -> None:
    suite.runpytest_subprocess("suite").assert_outcomes(passed=2, failed=1)
    result = suite.runpytest_subprocess("suite", "--lf")
    result.assert_outcomes(failed=1)
    first = suite.runpytest_subprocess("suite", "--ff", "-v", "--goat-parallel", "1")
    first.stdout.fnmatch_lines(["suite/two.yaml::two*FAILED*", "suite/one.yaml::one*PASSED*"])


def test_first_failure_stops_the_run(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("suite/two.yaml", "suite/one.yaml", "-x", "--goat-parallel", "1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


STALL = """
import time
from pathlib import Path

def pytest_runtest_logreport(report):
    deadline = time.monotonic() + 1
    while report.failed and time.monotonic() < deadline:
        if len(list(Path().glob(".goat/results/*/trials/*.json"))) > 1:
            break
        time.sleep(0.01)
"""
"""Gives the next trial time to end, if one was started."""


def test_no_trial_is_started_that_the_first_failure_would_have_saved(suite: pytest.Pytester) -> None:
    suite.makeconftest(STALL)
    suite.runpytest_subprocess("suite", "-x", "--goat-parallel", "1", "--goat-agent", "nop").assert_outcomes(
        failed=1
    )
    assert len(list(suite.path.glob(".goat/results/*/trials/*.json"))) == 1


def test_workers_give_the_same_verdicts(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("suite", "-n", "2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["goat: sandbox=local/*", "3 trials of replay*"])
    assert len(list((suite.path / ".goat/results").glob("*/run.json"))) == 1
    assert len(list((suite.path / ".goat/results").glob("*/trials/*.json"))) == 3


def test_workers_share_one_run_where_the_controller_cannot_tell(suite: pytest.Pytester) -> None:
    """Named by a folder two levels above: the controller learns of the suite from the first result."""
    deep = suite.path / "a" / "b"
    deep.mkdir(parents=True)
    (suite.path / "suite").rename(deep / "suite")
    suite.runpytest_subprocess("a", "-n", "2").assert_outcomes(passed=2, failed=1)
    runs = list((suite.path / ".goat/results").glob("*/summary.json"))
    assert len(runs) == 1
    assert len(list(runs[0].parent.glob("trials/*.json"))) == 3


def test_epochs_and_models_multiply(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(
        "suite", "--co", "-q", "--goat-epochs", "3", "--goat-model", "gpt-5-mini", "--goat-model", "replay"
    )
    names = [line.rpartition("::")[2] for line in result.outlines if line.startswith("suite/one")]
    assert names == [
        "one[gpt-5-mini]",
        "one[gpt-5-mini-e2]",
        "one[gpt-5-mini-e3]",
        "one[replay]",
        "one[replay-e2]",
        "one[replay-e3]",
    ]


def test_ordinary_tests_run_beside_trials(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_plain="""
        import pytest

        closed = []

        @pytest.fixture(scope="session")
        def resource():
            yield "open"
            closed.append(True)

        def test_one(resource):
            assert not closed

        def test_two(resource):
            assert not closed
        """
    )
    suite.runpytest_subprocess("suite", "test_plain.py").assert_outcomes(passed=4, failed=1)


def test_what_a_suite_holds_beside_tasks_is_left_alone(suite: pytest.Pytester) -> None:
    for folder in ("workspaces/w", "replay", "solutions"):
        path = suite.path / "suite" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "test_of_the_task.py").write_text("def test_fails():\n    assert False\n")
    (suite.path / "suite" / "README.md").write_text("# About this suite\n")
    (suite.path / "elsewhere.yaml").write_text("prompt: not ours\n")
    suite.runpytest_subprocess("-k", "not two").assert_outcomes(passed=2, deselected=1)


def test_one_bad_file_does_not_hide_the_others(suite: pytest.Pytester) -> None:
    (suite.path / "suite" / "bad.yaml").write_text("id: bad\npromt: Write it.\n")
    result = suite.runpytest_subprocess("suite", "--continue-on-collection-errors", "-k", "not two")
    result.assert_outcomes(passed=2, errors=1, deselected=1)
    result.stdout.fnmatch_lines(["*suite/bad.yaml:*prompt*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_wrong_suite_is_told_without_a_traceback(suite: pytest.Pytester) -> None:
    (suite.path / "suite" / "goat.yaml").write_text("gates: {pass_rate: 0.8}\n")
    (suite.path / "suite" / "workspaces").mkdir()
    result = suite.runpytest_subprocess("suite")
    result.stdout.fnmatch_lines(["*suite/goat.yaml:1: gates: *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.no_fnmatch_line("*.py:*")


def test_a_batch_file_is_taken_as_it_is(pytester: pytest.Pytester) -> None:
    (pytester.path / "prompts.json").write_text(
        '[{"id": "a", "prompt": "Say hi.", "max_turns": 3, "category": "x"}]'
    )
    folder = pytester.path / "replay"
    folder.mkdir()
    (folder / "a.yaml").write_text("turns: [{text: hi}]\n")
    result = pytester.runpytest_subprocess("prompts.json")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*1 unchecked*"])


@pytest.mark.parametrize(
    ("options", "scheduling"),
    [([], "WorkStealingScheduling"), (["--dist", "loadfile"], "LoadFileScheduling")],
)
def test_long_trials_are_stolen_unless_the_user_chose(
    suite: pytest.Pytester, options: list[str], scheduling: str
) -> None:
    result = suite.runpytest_subprocess("suite", "-n", "2", "-v", "-k", "one", *options)
    result.stdout.fnmatch_lines([f"scheduling tests via {scheduling}"])


def test_an_ordinary_run_keeps_xdists_own_distribution(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_subprocess("-n", "2", "-v")
    result.stdout.fnmatch_lines(["scheduling tests via LoadScheduling"])

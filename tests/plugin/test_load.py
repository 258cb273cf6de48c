"""What a process is asked for while many trials run in it, and that it gets that back."""

from __future__ import annotations

import json

import pytest

from tests.support.suites import hello_task, write_suite

WATCH = """
import gc, json, pathlib, resource
during = []
def pytest_configure():
    gc.set_threshold({threshold}, 7, 8)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 4000))
def pytest_runtest_logreport():
    during.append((gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)))
def pytest_unconfigure():
    pathlib.Path("seen").write_text(json.dumps([during[:1], gc.get_threshold()]))
"""


@pytest.mark.parametrize(("own", "meanwhile"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_garbage_is_looked_for_less_often_while_trials_run(
    pytester: pytest.Pytester, own: int, meanwhile: int
) -> None:
    write_suite(pytester.path / "suite", [hello_task("one")])
    pytester.makeconftest(WATCH.format(threshold=own))
    done = pytester.runpytest_subprocess("suite", "--goat-agent=oracle", "--goat-parallel=100")
    done.assert_outcomes(passed=1)
    (during,), after = json.loads((pytester.path / "seen").read_text())
    assert during == [[meanwhile, 7, 8], [1456, 4000]]
    assert after == [own, 7, 8]


def test_more_trials_at_once_than_files_are_refused_at_once(pytester: pytest.Pytester) -> None:
    write_suite(pytester.path / "suite", [hello_task("one")])
    pytester.makeconftest(WATCH.format(threshold=700))
    done = pytester.runpytest_subprocess("suite", "--goat-agent=oracle", "--goat-parallel=5000")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: 5000 trials at once need 5256 open files*", "*--goat-parallel 3744."])


def test_results_that_were_reported_are_not_kept_by_their_items(pytester: pytest.Pytester) -> None:
    write_suite(pytester.path / "suite", [hello_task("one"), hello_task("two", solution="true")])
    pytester.makeconftest("""
        def pytest_sessionfinish(session):
            assert [item.result for item in session.items] == [None, None]
    """)
    done = pytester.runpytest_subprocess("suite", "--goat-agent=oracle", "-v")
    done.assert_outcomes(passed=1, failed=1)
    assert "INTERNALERROR" not in done.stdout.str()

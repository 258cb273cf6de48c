"""Whether a process may open as many files as its trials need."""

from __future__ import annotations

import subprocess
import sys

from tests.support.modal import ROOT

ASK = """
import resource, sys
from pytest_goat.errors import UserError
from pytest_goat.open_files import allow_open_files

soft, hard, trials = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    allow_open_files(trials)
except UserError as error:
    print(error)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def ask(soft: int, hard: int, trials: int) -> list[str]:
    command = [sys.executable, "-c", ASK, str(soft), str(hard), str(trials)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_limit_is_raised_as_far_as_trials_may_need() -> None:
    assert ask(256, 20_000, 1000) == ["12256 20000"]


def test_the_limit_is_raised_as_far_as_the_system_allows() -> None:
    assert ask(256, 4096, 1000) == ["4096 4096"]


def test_a_limit_that_is_enough_stays() -> None:
    assert ask(512, 8192, 16) == ["512 8192"]


def test_a_system_that_allows_too_few_is_told_with_the_mend() -> None:
    problem, mend, limits = ask(256, 1024, 1000)
    assert problem == "1000 trials at once need 1256 open files, and this system allows a process 1024."
    assert mend == "  Raise that (`ulimit -n 12256` as root) or take --goat-parallel 768."
    assert limits == "256 1024"

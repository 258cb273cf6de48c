"""A run warns, once, of models that their providers have ended or are about to end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from tests.support.model_server import Answer, ModelServer
from tests.support.suites import WRITE_HELLO, hello_task, write_suite

MODEL = "gpt-5-mini"
SOON = date.today() + timedelta(days=59)
NOTICES = {
    SOON: f"{MODEL} retires {SOON}: use gpt-5.4-mini",
    date.today(): f"{MODEL} retired {date.today()}: use gpt-5.4-mini",
}
ASKED = ("--goat-models=own.yaml", f"--goat-model={MODEL}")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is asked for at the address that a test gives."""
    for name in ("AZURE_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(lambda request, headers: Answer("Done."), models=[MODEL]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def prepare(folder: Path, retires: date) -> None:
    (folder / "own.yaml").write_text(yaml.safe_dump({MODEL: {"retires": str(retires)}}))
    tasks = [{"id": name, "prompt": "Do nothing."} for name in ("one", "two")]
    write_suite(folder / "suite", tasks)


def run_goat(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    own = ("--backend", "local", "--models", "own.yaml", "--model", MODEL)
    return pytester.run(sys.executable, "-m", "pytest_goat.cli", "run", "Do nothing.", *own, *options)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("retires", NOTICES)
@pytest.mark.parametrize("options", [(), ("-q", "-n", "2")], ids=["one process", "workers"])
def test_a_run_warns_once(pytester: pytest.Pytester, options: Sequence[str], retires: date) -> None:
    prepare(pytester.path, retires)
    result = pytester.runpytest_subprocess("suite", "--goat-backend=local", *ASKED, *options)
    result.assert_outcomes(passed=2)
    assert result.stdout.lines.count(NOTICES[retires]) == 1
    assert result.stdout.str().count("retire") == 1


@pytest.mark.usefixtures("server")
def test_python_tests_of_workers_are_warned_of_once(pytester: pytest.Pytester) -> None:
    prepare(pytester.path, SOON)
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', range(3))\n"
        "def test_it(goat, n):\n    assert goat.run('Do nothing.').answer\n"
    )
    result = pytester.runpytest_subprocess("--goat-backend=local", "-n", "2", "--ignore=suite", *ASKED)
    result.assert_outcomes(passed=3)
    assert result.stdout.lines.count(NOTICES[SOON]) == 1


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("retires", NOTICES)
def test_one_prompt_is_warned_of_before_it_is_given(pytester: pytest.Pytester, retires: date) -> None:
    prepare(pytester.path, retires)
    done = run_goat(pytester)
    assert done.ret == 0
    assert done.stdout.lines[0] == NOTICES[retires]
    assert done.stdout.str().count("retire") == 1


def test_without_another_address_a_model_that_has_retired_is_refused(pytester: pytest.Pytester) -> None:
    today = date.today()
    prepare(pytester.path, today)
    result = pytester.runpytest_subprocess("suite", "--goat-backend=local", *ASKED, "-n", "2")
    done = run_goat(pytester)
    assert (result.ret, done.ret) == (pytest.ExitCode.USAGE_ERROR, 4)
    for said in (result.stderr.str(), done.stderr.str()):
        assert f"Model '{MODEL}' retired {today}: use gpt-5.4-mini." in said
        assert said.count("retired") == 1
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "options",
    [("--goat-model=replay",), ("--goat-agent=oracle", *ASKED), ("--co", *ASKED)],
    ids=["replay", "oracle", "--co"],
)
def test_nobody_is_warned_where_no_model_is_asked(pytester: pytest.Pytester, options: Sequence[str]) -> None:
    prepare(pytester.path, SOON)
    task = hello_task("hello", solution="echo hello > hello.txt")
    write_suite(pytester.path / "other", [task], {"hello": WRITE_HELLO})
    result = pytester.runpytest_subprocess("other", *options)
    assert result.ret == 0
    assert "retire" not in result.stdout.str()


def test_of_a_model_at_an_address_of_ones_own_nothing_is_known(
    pytester: pytest.Pytester, server: ModelServer
) -> None:
    prepare(pytester.path, SOON)
    result = pytester.runpytest_subprocess("suite", *ASKED, "--goat-api-url", server.url)
    result.assert_outcomes(passed=2)
    assert "retire" not in result.stdout.str()

"""Wrong options and missing things: one clear message, exit code 4, and no trial."""

from __future__ import annotations

import pytest

from tests.support.ports import closed_port
from tests.support.suites import WRITE_HELLO, hello_task, write_suite


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    write_suite(pytester.path / "suite", [hello_task("one")], {"one": WRITE_HELLO})
    return pytester


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--goat-epochs", "0"], "*--goat-epochs: must be a whole number of at least 1, not '0'*"),
        (["--goat-min-pass-rate", "80"], "*--goat-min-pass-rate: must be a number from 0 to 1*"),
        (["--goat-sandbox", "docker"], "*--goat-sandbox: must be one of auto, ns, landlock*"),
        (["--goat-agent", "./nowhere"], "*--goat-agent: './nowhere' is neither*"),
        (["--goat-model", "replay:elsewhere"], "*cannot serve 1 of the tasks*"),
        (["--goat-model", "m", "--goat-api-url", "ftp://x"], "*'ftp://x' is no address*"),
    ],
)
@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "workers"])
def test_one_message(suite: pytest.Pytester, options: list[str], words: str, workers: list[str]) -> None:
    result = suite.runpytest_subprocess("suite", *options, *workers)
    assert result.ret == 4
    text = result.stdout.str() + result.stderr.str()
    pytest.LineMatcher(text.splitlines()).fnmatch_lines([words])
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert not list(suite.path.glob(".goat/results/*/trials/*.json"))


def test_a_dead_endpoint(suite: pytest.Pytester) -> None:
    with closed_port() as port:
        result = suite.runpytest_subprocess(
            "suite", "--goat-model", "gpt-5-mini", "--goat-api-url", f"http://127.0.0.1:{port}/v1"
        )
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*127.0.0.1:{port}*"])


def test_the_ini_file_and_the_environment_are_read(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makeini("[pytest]\ngoat_epochs = 2\ngoat_model = replay\n")
    assert len(suite.runpytest_subprocess("suite", "--co", "-q").outlines) == 4
    monkeypatch.setenv("GOAT_EPOCHS", "3")
    assert len(suite.runpytest_subprocess("suite", "--co", "-q").outlines) == 5
    assert len(suite.runpytest_subprocess("suite", "--co", "-q", "--goat-epochs", "1").outlines) == 3


def test_help_has_a_group_of_its_own(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(
        ["agent benchmarks (pytest-goat):", "*--goat-model=NAME*", "*goat_model (args):*"]
    )

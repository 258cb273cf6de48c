"""Flags are read as Go's flag package reads them."""

from __future__ import annotations

import pytest

from pytest_goat.goat_eval.flags import Usage, parse
from tests.support.agent_run import AgentRunner


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        ([], "max-turns", 100),
        (["-prompt", "hi"], "prompt", "hi"),
        (["--prompt", "hi"], "prompt", "hi"),
        (["-prompt=hi"], "prompt", "hi"),
        (["--prompt=hi"], "prompt", "hi"),
        (["-prompt=a=b"], "prompt", "a=b"),
        (["-prompt="], "prompt", ""),
        (["-prompt", "-x"], "prompt", "-x"),
        (["-prompt", "--"], "prompt", "--"),
        (["-prompt", "a", "-prompt", "b"], "prompt", "b"),
        (["-max-turns", "-1"], "max-turns", -1),
        (["-max-turns=0x10"], "max-turns", 16),
        (["-max-turns=010"], "max-turns", 8),
        (["-max-turns=+1_0"], "max-turns", 10),
        (["-multi-turn"], "multi-turn", True),
        (["-multi-turn=false"], "multi-turn", False),
        (["-multi-turn=T"], "multi-turn", True),
        (["-multi-turn", "false", "-prompt", "x"], "prompt", ""),
        (["word", "-prompt", "x"], "prompt", ""),
        (["-", "-prompt", "x"], "prompt", ""),
        (["--", "-prompt", "x"], "prompt", ""),
    ],
)
def test_forms(argv: list[str], name: str, value: object) -> None:
    assert parse(argv, "goat-eval")[name] == value


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-unknown"], "flag provided but not defined: -unknown"),
        (["-max", "3"], "flag provided but not defined: -max"),
        (["-prompt"], "flag needs an argument: -prompt"),
        (["-max-turns", "many"], 'invalid value "many" for flag -max-turns: parse error'),
        (["-max-turns", " 3"], 'invalid value " 3" for flag -max-turns: parse error'),
        (["-max-turns", "9" * 20], "value out of range"),
        (["-multi-turn=maybe"], 'invalid boolean value "maybe" for -multi-turn: parse error'),
        (["---prompt", "x"], "bad flag syntax: ---prompt"),
        (["-=x"], "bad flag syntax: -=x"),
    ],
)
def test_what_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(argv, "goat-eval")
    assert message in str(caught.value).splitlines()[0]
    assert "Usage of goat-eval:" in str(caught.value)
    assert caught.value.code == 2


def test_a_wrong_flag_ends_the_process_with_2(agent: AgentRunner) -> None:
    ran = agent.run([], "-nonsense")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("flag provided but not defined: -nonsense\nUsage of ")
    assert ran.result["status"] == "config_error"


def test_help_goes_to_stderr_and_ends_with_0(agent: AgentRunner) -> None:
    ran = agent.run([], "-h")
    assert (ran.code, ran.stdout, ran.result) == (0, "", {})
    assert "-max-turns int\n    \tMaximum agentic loop turns (default 100)" in ran.stderr

"""From what `--goat-agent` says to an agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.agent.adapter import Adapter
from pytest_goat.agent.builtin import Nop, Oracle
from pytest_goat.agent.contract import GoatEval
from pytest_goat.agent.factory import make_agent
from pytest_goat.errors import UserError


def test_names(tmp_path: Path) -> None:
    assert isinstance(make_agent("oracle", tmp_path), Oracle)
    assert isinstance(make_agent("nop", tmp_path), Nop)
    agent = make_agent("goat-eval", tmp_path)
    assert isinstance(agent, GoatEval)
    agent.check()
    assert agent.version == make_agent("goat-eval", tmp_path / "again").version


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_an_adapter_file_is_known_by_its_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"agent{suffix}"
    path.write_text('{"argv": ["agent"]}')
    assert isinstance(make_agent(str(path), tmp_path), Adapter)


def test_any_other_file_is_a_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eval").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("eval", "./eval", "~/eval"):
        agent = make_agent(said, tmp_path)
        assert isinstance(agent, GoatEval)
        assert agent.name == "eval"


@pytest.mark.parametrize("said", ["goat_eval", "no/such/file", "."])
def test_there_is_no_such_agent(tmp_path: Path, said: str) -> None:
    with pytest.raises(UserError, match="neither goat-eval, oracle or nop, nor a file"):
        make_agent(said, tmp_path)

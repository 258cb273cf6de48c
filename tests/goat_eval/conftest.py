from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.agent.bundle import build
from tests.support.agent_run import AgentRunner


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent as it is shipped: one file."""
    target = tmp_path_factory.mktemp("agent") / "goat-eval"
    build(target)
    return target


@pytest.fixture
def agent(program: Path, tmp_path: Path) -> AgentRunner:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    return AgentRunner(program, work, out)

"""From what `--goat-agent` says to an agent."""

from __future__ import annotations

from pathlib import Path

from pytest_goat.agent.base import Agent
from pytest_goat.errors import UserError

ADAPTER_SUFFIXES = (".yaml", ".yml", ".json")


def make_agent(said: str, scratch: Path) -> Agent:
    """The agent called `said`: goat-eval, oracle, nop, a binary's path or an adapter file's path.

    `scratch` is a folder of this process's own, in which the bundled agent is built: not a shared cache,
    since what another user may write must not become the program under test.
    Raises `UserError` when there is no such agent.
    """
    from pytest_goat.agent.builtin import Nop, Oracle
    from pytest_goat.agent.contract import GoatEval

    if said == "goat-eval":
        from pytest_goat.agent import bundle

        bundle.build(scratch / "goat-eval")
        return GoatEval(scratch / "goat-eval", bundled=True)
    if said == "oracle":
        return Oracle()
    if said == "nop":
        return Nop()
    path = Path(said).expanduser().resolve()
    if not path.is_file():
        raise UserError(
            f"--goat-agent: {said!r} is neither goat-eval, oracle or nop, nor a file at {path}.\n"
            "  Build the agent's binary with: bash infra/build_eval.sh"
        )
    if path.suffix in ADAPTER_SUFFIXES:
        from pytest_goat.agent.adapter import Adapter
        from pytest_goat.agent.adapter_file import read_adapter

        return Adapter(read_adapter(path))
    return GoatEval(path)

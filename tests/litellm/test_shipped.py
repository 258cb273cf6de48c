"""A suite that ships, with each model of the seed: its providers tell what is recorded of a right attempt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pytest_goat.collect import Suites, is_prompt_file, read_tasks
from pytest_goat.gateway.recording import WORKDIR, ToolCall, read_recording
from tests.litellm.chain import SEEDS, Reply, arguments, set_up, turn_of
from tests.support import model_server
from tests.support.model_server import Answer
from tests.support.providers import Providers
from tests.support.providers.rules import Asked
from tests.support.runs import all_trials

SUITE = Path(__file__).parents[2] / "benchmarks" / "shell-data"
TASKS = ("order-report", "disk-hogs", "reconcile")


def prompts() -> dict[str, str]:
    """Task id by prompt."""
    suites = Suites(SUITE)
    files = [path for path in sorted(SUITE.iterdir()) if path.is_file() and is_prompt_file(path, suites)]
    tasks = [task for path in files for task in read_tasks(path, suites.of(path), lambda *_: None)]
    return {task.prompt.strip(): task.id for task in tasks}


class Attempts:
    """What the providers say: to each task its recording, turn by turn."""

    def __init__(self) -> None:
        self._tasks = prompts()

    def __call__(self, asked: Asked) -> Reply:
        said = {message["role"]: str(message.get("content")) for message in reversed(asked.json["messages"])}
        task = self._tasks.get(said["user"].strip())
        if task is None:
            return Answer("OK")
        (workdir,) = re.findall(r"Working directory: (.+)", said["system"])
        take = read_recording(SUITE / "replay" / f"{task}.yaml").take(1)
        assert take is not None
        turn = take.turns[turn_of(asked)]
        return Answer(turn.text, [_there(tool, workdir) for tool in turn.tools], reasoning=turn.reasoning)


def _there(tool: ToolCall, workdir: str) -> model_server.ToolCall:
    arguments = {
        name: value.replace(WORKDIR, workdir) if isinstance(value, str) else value
        for name, value in tool.arguments.items()
    }
    return model_server.ToolCall(tool.name, arguments)


def test_right_attempts_pass_through_the_whole_chain(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SUITE, pytester.path / SUITE.name)
    with Providers(Attempts()) as providers:
        set_up(pytester.path, providers, monkeypatch)
        options = [*arguments(SEEDS, "goat-eval"), "--goat-parallel=15", "-k", " or ".join(TASKS)]
        result = pytester.runpytest_subprocess(SUITE.name, *options, timeout=150)
    trials = all_trials(pytester.path)
    assert {(trial["task_id"], trial["model"]): trial["status"] for trial in trials} == {
        (task, model): "passed" for task in TASKS for model in SEEDS
    }, result.stdout.str()
    assert providers.refused == []

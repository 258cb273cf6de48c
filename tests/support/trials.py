"""The records that a trial is made of, with sensible values but for what a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_goat.agent.base import AgentInput
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.sandbox.base import ExecResult
from pytest_goat.task import Source, Task


def make_task(**fields: Any) -> Task:
    given: dict[str, Any] = {"id": "hello", "prompt": "Do it.", "source": Source(Path("hello.yaml"), 1)}
    return Task(**(given | fields))


def make_input(**fields: Any) -> AgentInput:
    """What an agent is told of a trial of the task with `fields`."""
    return AgentInput(
        task=make_task(**fields),
        trial_id="hello-1",
        workdir="/box/work",
        outdir="/box/out",
        model="test-model",
        base_url="http://127.0.0.1:8000/v1",
        api_key="trial-token",
    )


def ended(exit_code: int = 0, stdout: bytes = b"", **fields: Any) -> ExecResult:
    """How a command ended."""
    given: dict[str, Any] = {"stderr": b"", "duration": 1.0}
    return ExecResult(exit_code, stdout, **(given | fields))


def make_call(cause: Cause | None = None, finish_reason: str = "stop", **fields: Any) -> ModelCall:
    """A model call: a whole answer, unless there is a `cause`."""
    given: dict[str, Any] = {
        "started": 0.0,
        "duration": 1.0,
        "first_byte": 0.5,
        "status": 200,
        "cause": cause,
        "message": f"the words of {cause}" if cause else "",
        "model_asked": "test-model",
        "model_served": "test-model",
        "finish_reason": "" if cause else finish_reason,
        "tool_calls": 0,
        "usage": Usage(),
    }
    return ModelCall(**(given | fields))

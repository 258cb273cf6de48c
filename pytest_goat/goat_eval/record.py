"""What happened, told twice: event by event in the trajectory, and summed up in the result.

The trajectory (GOAT_TRAJECTORY_FILE) is JSON lines, one event each, flushed at once. Every event has `type`
and `t`, seconds since the start:

start      schema "goat-trajectory/1", agent, run_id, model, cwd, max_turns, system, prompt, tools (names)
user       text: a follow-up prompt of a multi-turn session
request    turn (the answer that is asked for, from 1), attempt (from 1), messages, bytes
error      turn, attempt, kind, http_status, message, retryable, seconds, wait (before the next attempt)
assistant  turn, text, reasoning, refusal, tool_calls [{id, name, arguments}], finish_reason, model, usage,
           seconds
tool       turn, id, name, output (as the model gets it), error (bool), seconds
end        status, and `error` as in the result

The result (GOAT_RESULT_FILE) is one JSON object, schema "goat-result/1":

status      completed | max_turns | max_tokens | context_overflow | llm_error | refused | interrupted |
            deadline | config_error
final_text  text of the model's last message
turns       answers of the model
tool_calls  {name: count, ..., "errors": how many of all failed}
usage       {prompt, completion, cached, reasoning, total}: tokens, summed over the turns
llm         {requests, retries, last_http_status, models_served}
error       null or {kind, http_status, message, retryable}; the kinds are in `errors.ModelError`
timings     {total, llm, tools, backoff}: seconds
agent       {name, version}

The API key is taken out of both.
"""

from __future__ import annotations

import json
import os
import time

from . import NAME, VERSION
from .console import say
from .errors import ConfigError
from .text import utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from .answer import Answer
    from .errors import ModelError

_SECRET_LENGTH = 12
"""A shorter key is a placeholder ("inspect"), and a word that may stand in any text."""


class Recorder:
    """Counts what happens, writes the trajectory as it happens, and the result at the end."""

    def __init__(self) -> None:
        self.turns = 0
        self.final_text = ""
        self.last_http_status = 0
        self._tool_calls: dict[str, int] = {}
        self._tool_errors = 0
        self._usage = {"prompt": 0, "completion": 0, "cached": 0, "reasoning": 0, "total": 0}
        self._requests = 0
        self._retries = 0
        self._models: list[str] = []
        self._seconds = {"llm": 0.0, "tools": 0.0, "backoff": 0.0}
        self._began = time.monotonic()
        self._secret = ""
        self._trajectory: TextIO | None = None

    def open(self, path: str, secret: str) -> None:
        """Write events to `path` ("": nowhere), without `secret`. Raises `ConfigError`."""
        self._secret = secret if len(secret) >= _SECRET_LENGTH else ""
        if not path:
            return
        try:
            self._trajectory = open(path, "w", encoding="utf-8")  # noqa: SIM115 - `close` closes it
        except OSError as error:
            message = f"error: cannot write GOAT_TRAJECTORY_FILE {path}: {error.strerror}"
            raise ConfigError(message) from error

    def event(self, kind: str, /, **fields: Any) -> None:
        """Write an event; a full disk ends the trajectory, not the run."""
        if self._trajectory is None:
            return
        line = {"type": kind, "t": self._now(), **fields}
        try:
            self._trajectory.write(self._dump(line) + "\n")
            self._trajectory.flush()
        except OSError as error:
            say(f"warning: the trajectory ends here: {error.strerror}")
            self._trajectory = None

    def request(self, attempt: int, messages: int, size: int) -> None:
        self._requests += 1
        self._retries += attempt > 1
        self.event("request", turn=self.turns + 1, attempt=attempt, messages=messages, bytes=size)

    def failed(self, error: ModelError, attempt: int, seconds: float, wait: float) -> None:
        """An attempt failed; `wait` seconds pass before the next one."""
        self._seconds["llm"] += seconds
        self._seconds["backoff"] += wait
        self.event(
            "error",
            turn=self.turns + 1,
            attempt=attempt,
            **error_fields(error),
            seconds=round(seconds, 4),
            wait=round(wait, 4),
        )

    def answered(self, answer: Answer, seconds: float) -> None:
        self.turns += 1
        self.final_text = answer.text
        self._seconds["llm"] += seconds
        if answer.model and answer.model not in self._models:
            self._models.append(answer.model)
        for name, count in _tokens(answer.usage).items():
            self._usage[name] += count
        self.event(
            "assistant",
            turn=self.turns,
            text=answer.text,
            reasoning=answer.reasoning,
            refusal=answer.refusal,
            tool_calls=[{"id": c.id, "name": c.name, "arguments": c.arguments} for c in answer.calls],
            finish_reason=answer.finish,
            model=answer.model,
            usage=answer.usage,
            seconds=round(seconds, 4),
        )

    def tool(self, call_id: str, name: str, output: str, failed: bool, seconds: float) -> None:
        self._tool_calls[name] = self._tool_calls.get(name, 0) + 1
        self._tool_errors += failed
        self._seconds["tools"] += seconds
        self.event(
            "tool",
            turn=self.turns,
            id=call_id,
            name=name,
            output=output,
            error=failed,
            seconds=round(seconds, 4),
        )

    def close(self, status: str, error: dict[str, Any] | None, result_path: str) -> None:
        """End the trajectory and write the result ("": nowhere). Raises `OSError`."""
        self.event("end", status=status, error=error)
        if self._trajectory is not None:
            self._trajectory.close()
        if not result_path:
            return
        partial = f"{result_path}.{os.getpid()}.part"
        with open(partial, "w", encoding="utf-8") as file:
            file.write(self._dump(self._result(status, error)) + "\n")
        os.replace(partial, result_path)

    def _result(self, status: str, error: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "schema": "goat-result/1",
            "status": status,
            "final_text": self.final_text,
            "turns": self.turns,
            "tool_calls": {**self._tool_calls, "errors": self._tool_errors},
            "usage": self._usage,
            "llm": {
                "requests": self._requests,
                "retries": self._retries,
                "last_http_status": self.last_http_status,
                "models_served": self._models,
            },
            "error": error,
            "timings": {"total": self._now(), **{name: round(s, 4) for name, s in self._seconds.items()}},
            "agent": {"name": NAME, "version": VERSION},
        }

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 4)

    def clean(self, text: str) -> str:
        """`text` without the API key: providers quote it in their errors."""
        return text.replace(self._secret, "[api key]") if self._secret else text

    def _dump(self, value: dict[str, Any]) -> str:
        return self.clean(utf8(json.dumps(value, ensure_ascii=False)))


def error_fields(error: ModelError) -> dict[str, Any]:
    """A `ModelError` as it stands in the trajectory and the result."""
    return {
        "kind": error.kind,
        "http_status": error.status,
        "message": str(error),
        "retryable": error.retryable,
    }


def _tokens(usage: dict[str, Any]) -> dict[str, int]:
    """A provider's usage object (OpenAI's names) in ours; what is missing is 0."""
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return {
        "prompt": prompt,
        "completion": completion,
        "cached": _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        "reasoning": _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        "total": _count(usage, "total_tokens") or prompt + completion,
    }


def _count(fields: Any, name: str) -> int:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, int) else 0

"""The loop: ask the model, run the tools that it calls, tell it what came of them, until it has done."""

from __future__ import annotations

import json
import time

from .errors import ToolError
from .text import utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .answer import Answer, Call
    from .llm import Model
    from .record import Recorder
    from .tools.base import Tool

KEPT = 10
"""Messages at the end of the conversation whose tool results stay whole."""
LONG, SHORT = 1000, 200
"""Characters of a tool result from which an older one is shortened, and to which."""


class Session:
    """A conversation. `max_turns`: answers of the model, of all follow-ups together; 0 or less: no limit."""

    def __init__(
        self,
        model: Model,
        tools: list[Tool],
        recorder: Recorder,
        *,
        system: str,
        max_turns: int,
        small: bool,
    ) -> None:
        self._model = model
        self._tools = {tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)}
        self._specs = [tool.spec(small) for tool in self._tools.values()]
        self._recorder = recorder
        self._max_turns = max_turns
        self._messages: list[dict[str, Any]] = [{"role": "system", "content": system}]

    def run(self, prompt: str) -> str:
        """Carry out `prompt` and return the status: completed, max_turns, max_tokens or refused.

        Raises `ModelError` when a model call fails for good.
        """
        self._messages.append({"role": "user", "content": prompt})
        while self._max_turns <= 0 or self._recorder.turns < self._max_turns:
            answer = self._model.ask(self._messages, self._specs)
            self._messages.append(_message(answer))
            if not answer.calls or _is_cut(answer):
                return _ending(answer)
            seen = len(self._messages)
            for call in answer.calls:
                self._messages.append(
                    {"role": "tool", "content": self._answer(call), "tool_call_id": call.id}
                )
            self._shorten(min(seen, len(self._messages) - KEPT))
        return "max_turns"

    def _answer(self, call: Call) -> str:
        began = time.monotonic()
        failed = False
        try:
            output = utf8(self._run(call))
        except Exception as error:
            # Whatever goes wrong in a tool, the model is told and the run goes on.
            known = isinstance(error, ToolError)
            output = utf8(f"Error: {error}" if known else f"Error: {type(error).__name__}: {error}")
            failed = True
        self._recorder.tool(call.id, call.name, output, failed, time.monotonic() - began)
        return output

    def _run(self, call: Call) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f'unknown tool "{call.name}". Available: {", ".join(self._tools)}')
        arguments = call.parsed()
        if arguments is None:
            raise ToolError(f"the arguments are not a JSON object: {call.arguments[:SHORT]}")
        return tool.run(arguments)

    def _shorten(self, end: int) -> None:
        """Cut long tool results before message `end`: what the model has seen, and has moved on from."""
        for message in self._messages[: max(end, 0)]:
            if message["role"] == "tool" and len(message["content"]) > LONG:
                message["content"] = message["content"][:SHORT] + "\n... [output truncated]"


def _message(answer: Answer) -> dict[str, Any]:
    """The answer as it goes back to the model with later requests; calls without an id are given one."""
    content = answer.text or (None if answer.calls else "")
    message: dict[str, Any] = {"role": "assistant", "content": content}
    for position, call in enumerate(answer.calls):
        call.id = call.id or f"call_{time.monotonic_ns():x}_{position}"
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in answer.calls
        ]
    return message


def _arguments(call: Call) -> str:
    """The arguments as the model wrote them; what is no JSON object, which providers refuse, is wrapped."""
    if call.parsed() is None:
        return json.dumps({"_raw": call.arguments})
    return call.arguments or "{}"


def _is_cut(answer: Answer) -> bool:
    """Whether the length limit cut the answer within a tool call, so that none of it can be trusted."""
    return answer.finish == "length" and any(call.parsed() is None for call in answer.calls)


def _ending(answer: Answer) -> str:
    if answer.finish == "length":
        return "max_tokens"
    if answer.refusal or answer.finish == "content_filter":
        return "refused"
    return "completed"

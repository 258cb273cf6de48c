"""Recorded answers as the upstream: no key, no network, the same every time.

The model is named `replay`, or `replay:DIR` for the recordings in the folder DIR; `replay` alone means
`replay:replay`. The recording of a task (its form: `recording`) is looked for in DIR below the task's suite,
then in DIR from the current directory. A judge has a folder of its own, as in
`--goat-judge-model replay:replay-judge`.

Which answer is given depends on the request alone: one that holds n-1 answers of the assistant gets the n-th
turn, or, where turns say what was `asked`, the turn of the request that is most like it (`matching`). So a
retry gets what the first try got, and trials side by side do not disturb each other; only where the same was
asked several times do the answers come in their order. A request that no turn answers, or more than one, is
an error of status 400, which clients do not retry, with the code `replay_miss`.

Where a turn gives no usage, it is made up of characters, four to a token: those of the request's JSON for the
prompt, those of the text and the tools' arguments for the completion. The cost is always 0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pytest_goat.errors import GatewayError, UserError
from pytest_goat.gateway.base import TrialKey, Usage
from pytest_goat.gateway.causes import Ending
from pytest_goat.gateway.matching import answers_to
from pytest_goat.gateway.recording import Asked, Take, ToolCall, Turn
from pytest_goat.gateway.recordings import MODEL, DiskRecordings, Recording, Recordings
from pytest_goat.gateway.request import ModelRequest
from pytest_goat.gateway.upstream import Answer, UpstreamBroken, error_body, event_answer, json_answer

_PIECE = 2000
"""Characters in one event, at most: some clients do not read lines of 64 KiB."""


def is_replay(model: str) -> bool:
    """Whether `model` names recordings."""
    return model == MODEL or model.startswith(f"{MODEL}:")


class ReplayUpstream:
    """Serves the recordings of all tasks: those on the disk, or those of another source."""

    def __init__(self, recordings: Recordings | None = None) -> None:
        self._disk = DiskRecordings()
        self._recordings = recordings or self._disk
        self._given: Counter[tuple[str, Asked | None]] = Counter()
        """Answers given to what was asked several times, by attempt."""

    @property
    def name(self) -> str:
        return MODEL

    @property
    def secrets(self) -> Sequence[str]:
        return ()

    def quota(self, model: str) -> str:
        return ""

    def handover(self) -> dict[str, str]:
        return {}

    async def start(self) -> None:
        """Nothing is needed."""

    async def stop(self) -> None:
        """Nothing is held."""

    async def preflight(self, model: str, keys: Sequence[TrialKey]) -> None:
        """Raises `UserError` that lists the tasks that have no recording on the disk, or a wrong one."""
        self._disk.check(model, keys)

    @asynccontextmanager
    async def answer(self, request: ModelRequest) -> AsyncIterator[Answer]:
        try:
            take, turn = await self._turn(request)
            answer = _answer(request, take, turn)
        except UserError as miss:
            answer = json_answer(400, error_body(str(miss), "replay_miss", "replay_miss"))
        except GatewayError as error:
            raise UpstreamBroken(Ending.UNREACHABLE, str(error)) from error
        yield answer

    async def _turn(self, request: ModelRequest) -> tuple[Take, Turn]:
        recording = await self._recordings.find(request.key)
        take, task = recording.take, request.key.task_id
        turns = answers_to(take, request)
        if not turns:
            has = len(take.turns)
            raise UserError(
                f"the recording of task '{task}' has {has} turns, and the agent asks for turn {request.turn}"
                f"{'' if take.turns[0].asked is None else ' of a conversation that is none of them'}. "
                f"Add it to {recording.source}, or let an earlier turn end the work."
            )
        return take, turns[0] if len(turns) == 1 else self._next_of(turns, request, recording)

    def _next_of(self, turns: Sequence[Turn], request: ModelRequest, recording: Recording) -> Turn:
        """The next one of several answers to the same request."""
        key = request.key
        if not key.attempt or len({turn.asked for turn in turns}) > 1:
            raise UserError(
                f"the recording of task '{key.task_id}' has {len(turns)} answers for turn {request.turn}, "
                f"and which is meant cannot be told. Leave one of them in {recording.source}, or record anew."
            )
        count = self._given[key.attempt, turns[0].asked]
        if count >= len(turns):
            raise UserError(
                f"the recording of task '{key.task_id}' has {len(turns)} answers to a request of turn "
                f"{request.turn} that the agent makes once more. Record it anew: {recording.source}"
            )
        self._given[key.attempt, turns[0].asked] += 1
        return turns[count]


def _answer(request: ModelRequest, take: Take, turn: Turn) -> Answer:
    if turn.error:
        status, words = turn.error
        return json_answer(status, error_body(words, "replayed_error", str(status)))
    message = _message(request, turn, _places(take, request.workdir))
    usage = _usage(request, turn)
    frame: dict[str, Any] = {
        "id": f"chatcmpl-replay-{request.turn}",
        "object": "chat.completion.chunk" if request.stream else "chat.completion",
        "created": 0,
        "model": request.key.model,
    }
    if request.stream:
        return event_answer({**frame, **event} for event in _events(message, turn.finish_reason, usage))
    choice = {"index": 0, "message": message, "finish_reason": turn.finish_reason}
    return json_answer(200, {**frame, "choices": [choice], "usage": usage})


def _places(take: Take, workdir: str) -> dict[str, str]:
    """What stands in a take -> the place that is meant by it."""
    places = {take.workdir: workdir}
    if take.home:
        places[take.home] = str(Path.home())
    return places


def _message(request: ModelRequest, turn: Turn, places: Mapping[str, str]) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{request.turn}_{number}",
            "type": "function",
            "function": {"name": tool.name, "arguments": _arguments(tool, places)},
        }
        for number, tool in enumerate(turn.tools, 1)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": _place(turn.text, places) or None}
    if turn.reasoning:
        message["reasoning_content"] = _place(turn.reasoning, places)
    if calls:
        message["tool_calls"] = calls
    return message


def _arguments(tool: ToolCall, places: Mapping[str, str]) -> str:
    return str(_place(tool.raw, places)) or json.dumps(_place(dict(tool.arguments), places))


def _place(value: Any, places: Mapping[str, str]) -> Any:
    """`value` with the places filled in, in every string."""
    if isinstance(value, str):
        for mark, place in places.items():
            value = value.replace(mark, place)
        return value
    if isinstance(value, dict):
        return {key: _place(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_place(item, places) for item in value]
    return value


def _usage(request: ModelRequest, turn: Turn) -> dict[str, Any]:
    said = sum(len(tool.raw or json.dumps(tool.arguments)) for tool in turn.tools) + len(turn.text)
    usage = turn.usage or Usage(prompt_tokens=_tokens(len(request.body)), completion_tokens=_tokens(said))
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "cost": 0.0,
    }


def _tokens(characters: int) -> int:
    return -(-characters // 4)


def _events(message: dict[str, Any], finish_reason: str, usage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed answer, in the order in which OpenAI sends them."""
    yield _delta({"role": "assistant", "content": ""})
    for piece in _pieces(message.get("reasoning_content", "")):
        yield _delta({"reasoning_content": piece})
    for piece in _pieces(message["content"] or ""):
        yield _delta({"content": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield _delta({"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]})
        for piece in _pieces(function["arguments"]):
            yield _delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _delta({}, finish_reason)
    yield {"choices": [], "usage": usage}


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _pieces(text: str) -> list[str]:
    size = max(1, min(_PIECE, (len(text) + 1) // 2))
    return [text[start : start + size] for start in range(0, len(text), size)]

"""How each provider answers: one JSON object, or a stream of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tests.support.model_server import Answer, ToolCall
from tests.support.providers.rules import Asked


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one answer is charged for."""

    prompt: int
    """All of the input, cached included."""
    cached: int
    completion: int
    """Reasoning included."""
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Overloaded(Answer):
    """A stream that ends with the error of a provider that has no room any more."""

    after: int = 0
    """Events before it."""
    until: Callable[[], object] = bool
    """Returns when the error may go."""


def whole(asked: Asked, answer: Answer, tokens: Tokens) -> dict[str, Any]:
    """The answer as one JSON object."""
    if asked.provider == "anthropic":
        return _message(asked, answer, tokens)
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tools:
        message["tool_calls"] = [_call(call) for call in answer.tools]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    body = {**_head(asked, "chat.completion"), "choices": [choice]}
    if answer.usage is not None:
        body["usage"] = _usage(asked, tokens)
    # LiteLLM's reader of Groq's answers fails without it.
    return body | ({"service_tier": "on_demand"} if asked.provider == "groq" else {})


def events(asked: Asked, answer: Answer, tokens: Tokens) -> Iterator[bytes]:
    """The answer as server-sent events."""
    if isinstance(answer, Overloaded):
        yield from islice(_events(asked, answer, tokens), answer.after)
        answer.until()
        yield _overloaded(asked)
    else:
        yield from _events(asked, answer, tokens)


def _overloaded(asked: Asked) -> bytes:
    if asked.provider == "anthropic":
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    message = "That model is currently overloaded with other requests. You can retry your request."
    content = {"error": {"message": message, "type": "server_error", "param": None, "code": None}}
    return f"data: {json.dumps(content)}\n\n".encode()


def _events(asked: Asked, answer: Answer, tokens: Tokens) -> Iterator[bytes]:
    if asked.provider == "anthropic":
        for event in _anthropic_events(asked, answer, tokens):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        return
    for chunk in _chunks(asked, answer, tokens):
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    if answer.done:
        yield b"data: [DONE]\n\n"


def _chunks(asked: Asked, answer: Answer, tokens: Tokens) -> Iterator[dict[str, Any]]:
    head = _head(asked, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    if asked.provider == "azure":
        filters = [{"prompt_index": 0, "content_filter_results": {}}]
        yield {**head, "choices": [], "prompt_filter_results": filters}
    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(answer.reasoning):
        yield chunk({"reasoning_content": piece})
    for piece in _pieces(answer.text, answer.pieces):
        yield chunk({"content": piece})
    for index, call in enumerate(answer.tools):
        opening = _call(call)
        arguments, opening["function"]["arguments"] = opening["function"]["arguments"], ""
        yield chunk({"tool_calls": [{"index": index, **opening}]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish(answer))
    if answer.usage is not None and (asked.json.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(asked, tokens)}


def _anthropic_events(asked: Asked, answer: Answer, tokens: Tokens) -> Iterator[dict[str, Any]]:
    message = _message(asked, answer, tokens)
    blocks = message.pop("content")
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            opening: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [
                {"type": "text_delta", "text": piece} for piece in _pieces(block["text"], answer.pieces)
            ]
        else:
            opening = {**block, "input": {}}
            pieces = _pieces(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield {"type": "content_block_start", "index": index, "content_block": opening}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    if not answer.done:
        return
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _message(asked: Asked, answer: Answer, tokens: Tokens) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
    for call in answer.tools:
        content.append(
            {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(_arguments(call))}
        )
    return {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": "tool_use" if answer.tools else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens.prompt - tokens.cached,
            "cache_read_input_tokens": tokens.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": tokens.completion,
        },
    }


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-test", "object": kind, "created": 1, "model": asked.model}


def _usage(asked: Asked, tokens: Tokens) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    }
    if tokens.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
    return usage


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _arguments(call: ToolCall) -> Mapping[str, Any]:
    return json.loads(call.arguments) if isinstance(call.arguments, str) else call.arguments


def _finish(answer: Answer) -> str | None:
    if answer.finish == "":
        return "tool_calls" if answer.tools else "stop"
    return answer.finish


def _pieces(text: str, count: int = 2) -> list[str]:
    step = max(1, -(-len(text) // count))
    return [text[start : start + step] for start in range(0, len(text), step)]

"""From a result to the spans of its trace: the trial, and below it a generation for each model call.

Attributes: those that Langfuse reads (https://langfuse.com/integrations/native/opentelemetry), and those of
OpenTelemetry's conventions for generative AI, which other receivers know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status as SpanStatus
from opentelemetry.trace.status import StatusCode

from pytest_goat import __version__
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.result import Status, TrialResult
from pytest_goat.traces.ids import span_id, trace_id

_RESOURCE = Resource({"service.name": "pytest-goat", "service.version": __version__})
_SCOPE = InstrumentationScope("pytest-goat", __version__)
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Traced:
    """What a trace says beside the result."""

    run_id: str
    prompt: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The task's own."""


def spans_of(result: TrialResult, traced: Traced) -> list[ReadableSpan]:
    """The trace of a trial, the trial's own span first. Calls are those of the last attempt."""
    trace = trace_id(traced.run_id, result.trial_id)
    began = _epoch(result)
    shared = _of_trace(result, traced.run_id)
    return [
        _trial(result, traced, trace, began, shared),
        *(_call(call, number, trace, began, shared) for number, call in enumerate(result.calls, start=1)),
    ]


def _trial(
    result: TrialResult, traced: Traced, trace: str, began: int, shared: Mapping[str, Any]
) -> ReadableSpan:
    about = {
        "suite": result.suite,
        "agent": result.agent,
        "epoch": result.epoch,
        "status": result.status.value,
        "cause": result.cause.value if result.cause else "",
        "node_id": result.node_id,
        **traced.metadata,
    }
    attributes: dict[str, Any] = {
        **shared,
        "langfuse.trace.input": traced.prompt,
        "langfuse.trace.output": result.answer,
        "langfuse.observation.type": "agent",
        "langfuse.observation.input": traced.prompt,
        "langfuse.observation.output": result.answer,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": result.agent,
        **{f"langfuse.trace.metadata.{key}": _plain(value) for key, value in about.items() if value != ""},
    }
    error = result.status is Status.ERROR
    if error:
        attributes |= {
            "langfuse.observation.level": "ERROR",
            "langfuse.observation.status_message": result.message,
        }
    events = [
        Event(
            "attempt",
            {"cause": tried.cause.value, "message": tried.message, "seconds": tried.duration},
            began,
        )
        for tried in result.attempts
    ]
    return ReadableSpan(
        result.task_id,
        _context(trace, 0),
        resource=_RESOURCE,
        attributes=attributes,
        events=events,
        status=SpanStatus(StatusCode.ERROR, result.message) if error else SpanStatus(StatusCode.OK),
        start_time=began,
        end_time=began + int(result.phases.total * _NANO),
        instrumentation_scope=_SCOPE,
    )


def _call(call: ModelCall, number: int, trace: str, began: int, shared: Mapping[str, Any]) -> ReadableSpan:
    start = began + int(call.started * _NANO)
    attributes: dict[str, Any] = {
        **shared,
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": call.model_served or call.model_asked,
        "langfuse.observation.usage_details": json.dumps(_tokens(call.usage)),
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": call.model_asked,
        "gen_ai.response.model": call.model_served,
        "gen_ai.response.finish_reasons": [call.finish_reason] if call.finish_reason else [],
        "gen_ai.usage.input_tokens": call.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": call.usage.completion_tokens,
        "http.response.status_code": call.status,
        "langfuse.observation.metadata.tool_calls": call.tool_calls,
    }
    if call.usage.cost is not None:
        attributes["langfuse.observation.cost_details"] = json.dumps({"total": call.usage.cost})
    if call.first_byte is not None:
        first = datetime.fromtimestamp((start + int(call.first_byte * _NANO)) / _NANO).astimezone()
        attributes["langfuse.observation.completion_start_time"] = first.isoformat()
    if call.cause is not None or call.hung_up:
        words = call.message or ("the agent hung up" if call.hung_up else "")
        attributes |= {"langfuse.observation.level": "ERROR", "langfuse.observation.status_message": words}
    return ReadableSpan(
        f"turn {number}",
        _context(trace, number),
        parent=_context(trace, 0),
        resource=_RESOURCE,
        attributes=attributes,
        kind=SpanKind.CLIENT,
        status=SpanStatus(StatusCode.ERROR, call.message) if call.cause else SpanStatus(StatusCode.OK),
        start_time=start,
        end_time=start + int(call.duration * _NANO),
        instrumentation_scope=_SCOPE,
    )


def _of_trace(result: TrialResult, run_id: str) -> dict[str, Any]:
    """What every span says of its trace: Langfuse lets its spans be filtered one by one."""
    tags = [f"suite:{result.suite}"] if result.suite else []
    return {
        "langfuse.trace.name": result.task_id,
        "session.id": run_id,
        "langfuse.trace.tags": [*tags, f"model:{result.model}", f"variant:{result.variant}", *result.tags],
    }


def _tokens(usage: Usage) -> dict[str, int]:
    """Langfuse adds the parts up, so that none may be counted in another."""
    parts = {
        "input": usage.prompt_tokens - usage.cached_tokens,
        "input_cached_tokens": usage.cached_tokens,
        "output": usage.completion_tokens - usage.reasoning_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    return {name: count for name, count in parts.items() if count or name in ("input", "output")}


def _plain(value: Any) -> str | int | float | bool:
    """An attribute's value; what is nested is told as JSON."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, default=str)


def _context(trace: str, number: int) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace, 16), int(span_id(trace, number), 16), is_remote=False, trace_flags=sampled)


def _epoch(result: TrialResult) -> int:
    """When the trial began, in nanoseconds since 1970."""
    return int(datetime.fromisoformat(result.started).timestamp() * _NANO) if result.started else 0

"""What a receiver of traces gets, and that a bad one harms nobody."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from pytest_goat.checks.base import CheckResult
from pytest_goat.errors import Cause
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.result import Attempt, Phases, Status, TrialResult
from pytest_goat.traces.receiver import Receiver, receiver, secrets
from pytest_goat.traces.sender import TraceSender
from pytest_goat.traces.spans import Traced
from tests.support.results import make_result
from tests.traces.recorder import PUBLIC, SECRET, Recorder, attributes, recorder

CALL = ModelCall(
    started=0.5,
    duration=2.0,
    first_byte=0.25,
    status=200,
    cause=None,
    message="",
    model_asked="gpt-5-mini",
    model_served="gpt-5-mini-2025-08-07",
    finish_reason="tool_calls",
    tool_calls=2,
    usage=Usage(1000, 100, 200, 50, 0.00075),
)
BROKEN = ModelCall(
    3.0, 1.0, None, 429, Cause.RATE_LIMITED, "HTTP 429: slow down", "gpt-5-mini", "", "", 0, Usage()
)
RESULT = make_result(
    status=Status.FAILED,
    cause=Cause.CHECKS_FAILED,
    message="1 of 2 checks failed",
    score=0.5,
    answer="done",
    tags=("python",),
    calls=(CALL, BROKEN),
    attempts=(Attempt(Cause.SANDBOX_LOST, "gone", 1.5),),
    phases=Phases(total=4.0),
    started="2026-11-24T09:00:00.000+00:00",
    checks=(
        CheckResult("pytest", "run", 1.0, True),
        CheckResult("text", "file", 0.0, False, seen="nothing"),
        CheckResult("judge", "judge", 0.0, False, error="no judge"),
    ),
)
TRACED = Traced("run-1", "Reverse it.", {"level": 3, "owner": {"team": "a"}})


@pytest.fixture
def langfuse() -> Iterator[Recorder]:
    with recorder() as told:
        yield told


def the_receiver(told: Recorder) -> Receiver:
    found = receiver(told.env)
    assert found is not None
    return found


def send(told: Recorder, *results: TrialResult) -> str:
    sender = TraceSender(the_receiver(told))
    for result in results:
        sender.send(result, TRACED)
    return sender.close(20)


def test_a_trial_is_a_trace_named_by_its_task(langfuse: Recorder) -> None:
    assert send(langfuse, RESULT) == ""
    (trial,) = langfuse.by_name("reverse")
    wanted = hashlib.sha256(b"run-1/basics-reverse-1").hexdigest()[:32]
    assert {span.trace_id.hex() for span in langfuse.spans} == {wanted}
    said = attributes(trial)
    assert (said["langfuse.trace.name"], said["session.id"]) == ("reverse", "run-1")
    assert said["langfuse.trace.tags"] == [
        "suite:benchmarks/basics",
        "model:gpt-5-mini",
        "variant:baseline",
        "python",
    ]
    assert (said["langfuse.trace.input"], said["langfuse.trace.output"]) == ("Reverse it.", "done")
    assert said["langfuse.trace.metadata.level"] == 3
    assert said["langfuse.trace.metadata.owner"] == '{"team": "a"}'
    assert said["langfuse.trace.metadata.cause"] == "checks_failed"
    assert trial.end_time_unix_nano - trial.start_time_unix_nano == 4_000_000_000
    assert [event.name for event in trial.events] == ["attempt"]


def test_each_model_call_is_a_generation_below_it(langfuse: Recorder) -> None:
    send(langfuse, RESULT)
    (trial,), (call,), (broken,) = (langfuse.by_name(name) for name in ("reverse", "turn 1", "turn 2"))
    assert call.parent_span_id == broken.parent_span_id == trial.span_id
    said = attributes(call)
    assert said["langfuse.observation.type"] == "generation"
    assert said["langfuse.observation.model.name"] == "gpt-5-mini-2025-08-07"
    usage = json.loads(said["langfuse.observation.usage_details"])
    assert usage == {"input": 900, "input_cached_tokens": 100, "output": 150, "output_reasoning_tokens": 50}
    assert json.loads(said["langfuse.observation.cost_details"]) == {"total": 0.00075}
    assert said["session.id"] == "run-1"
    assert call.start_time_unix_nano - trial.start_time_unix_nano == 500_000_000
    assert said["langfuse.observation.completion_start_time"].startswith("2026-11-24T")
    said = attributes(broken)
    assert said["langfuse.observation.level"] == "ERROR"
    assert said["langfuse.observation.status_message"] == "HTTP 429: slow down"
    assert "langfuse.observation.cost_details" not in said


def test_scores_are_sent_for_what_was_judged(langfuse: Recorder) -> None:
    send(langfuse, RESULT)
    trace = langfuse.spans[0].trace_id.hex()
    assert {score["traceId"] for score in langfuse.scores} == {trace}
    schema = json.loads(Path(__file__).with_name("create_score_request.json").read_text())
    for score in langfuse.scores:
        jsonschema.validate(score, schema)
    assert [score["dataType"] for score in langfuse.scores] == ["BOOLEAN", "NUMERIC", "NUMERIC", "NUMERIC"]
    assert [(score["name"], score["value"], score["comment"]) for score in langfuse.scores] == [
        ("passed", 0.0, "1 of 2 checks failed"),
        ("score", 0.5, ""),
        ("pytest", 1.0, ""),
        ("text", 0.0, "nothing"),
    ]


def test_an_error_has_no_verdict(langfuse: Recorder) -> None:
    send(langfuse, make_result(status=Status.ERROR, cause=Cause.SANDBOX_LOST, message="gone"))
    assert langfuse.scores == []
    assert attributes(langfuse.spans[0])["langfuse.observation.level"] == "ERROR"


def test_many_trials_travel_in_few_posts(langfuse: Recorder) -> None:
    langfuse.stuck.clear()
    sender = TraceSender(the_receiver(langfuse))
    for number in range(100):
        sender.send(make_result(f"t{number}", status=Status.SKIPPED), TRACED)
    langfuse.stuck.set()
    assert sender.close(20) == ""
    assert len({span.trace_id for span in langfuse.spans}) == len(langfuse.spans) == 100
    assert len(langfuse.posts) <= 4


def test_a_refusal_is_one_warning_without_the_key(langfuse: Recorder) -> None:
    langfuse.status = 403
    warning = send(langfuse, *(make_result(f"t{number}") for number in range(3)))
    assert warning.startswith(f"traces of 3 trials were not sent to {langfuse.host}: ")
    assert SECRET not in warning
    assert SECRET not in repr(the_receiver(langfuse))


def test_a_silent_receiver_holds_nobody_up(langfuse: Recorder) -> None:
    langfuse.stuck.clear()
    sender = TraceSender(the_receiver(langfuse))
    began = time.monotonic()
    for number in range(3000):
        sender.send(make_result(f"t{number}"), TRACED)
    warning = sender.close(0.2)
    assert time.monotonic() - began < 5
    assert "3000 trials were not sent" in warning


def test_nothing_listens(langfuse: Recorder) -> None:
    sender = TraceSender(Receiver("http://127.0.0.1:9/v1/traces"), timeout=0.2)
    sender.send(RESULT, TRACED)
    assert "traces of 1 trials were not sent to http://127.0.0.1:9" in sender.close(20)


def test_receivers() -> None:
    keys = {"LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET}
    assert receiver({}) is None
    assert receiver({"LANGFUSE_PUBLIC_KEY": PUBLIC}) is None
    assert receiver(keys) is None
    cloud = receiver(keys | {"LANGFUSE_HOST": "https://cloud.langfuse.com"})
    assert cloud is not None
    assert cloud.endpoint == "https://cloud.langfuse.com/api/public/otel/v1/traces"
    trace = hashlib.sha256(b"r/t").hexdigest()[:32]
    assert cloud.link("r", "t") == f"https://cloud.langfuse.com/trace/{trace}"
    own = receiver(keys | {"LANGFUSE_HOST": "https://lf.example/", "LANGFUSE_PROJECT_ID": "goat"})
    assert own is not None
    assert own.link("r", "t") == f"https://lf.example/project/goat/traces/{trace}"
    other = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel.example",
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=s3cret-of-otel",
    }
    assert receiver(other) == Receiver("https://otel.example/v1/traces", {"x-key": "s3cret-of-otel"})
    assert secrets(keys | other) == (SECRET, "s3cret-of-otel")

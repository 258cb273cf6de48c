"""What a trial may ask, and what the provider then gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_goat.gateway.request import MAX_BODY, Refused, read_request
from tests.gateway.calls import request, trial_key


def refused(raw: bytes, model: str = "test-model") -> Refused:
    with pytest.raises(Refused) as caught:
        read_request(raw, trial_key(model))
    return caught.value


def encode(**more: Any) -> bytes:
    return json.dumps(request(**more)).encode()


def test_a_request_passes_with_all_that_it_holds() -> None:
    content = request(tools=[{"type": "function"}], max_tokens=16384, temperature=0.3)
    ready = read_request(json.dumps(content).encode(), trial_key(), "/job")
    assert json.loads(ready.body) == ready.content == content
    assert (ready.stream, ready.wants_usage, ready.workdir, ready.turn) == (True, True, "/job", 1)


def test_the_turn_is_the_number_of_answers_held_and_one() -> None:
    assert read_request(encode(turn=4), trial_key()).turn == 4
    assert read_request(encode(messages=None), trial_key()).turn == 1
    assert read_request(encode(messages=[1, {"role": "user"}, {"role": "assistant"}]), trial_key()).turn == 2


@pytest.mark.parametrize("options", [None, {"include_usage": False, "x": 1}, "odd"])
def test_usage_is_asked_for_on_every_stream(options: Any) -> None:
    ready = read_request(encode(stream_options=options), trial_key())
    sent = json.loads(ready.body)["stream_options"]
    assert sent["include_usage"] is True
    assert sent.get("x") == (options["x"] if isinstance(options, dict) else None)
    assert not ready.wants_usage


def test_nothing_is_added_to_a_request_that_does_not_stream() -> None:
    content = request(stream=False)
    assert json.loads(read_request(json.dumps(content).encode(), trial_key()).body) == content


def test_claude_goes_out_under_the_users_name() -> None:
    raw = encode(model="anthropic/claude-x")
    ready = read_request(raw, trial_key("claude-x"))
    assert (ready.model_asked, ready.content["model"]) == ("anthropic/claude-x", "claude-x")
    assert read_request(encode(model="claude-x"), trial_key("claude-x")).content["model"] == "claude-x"


@pytest.mark.parametrize("asked", ["other", "anthropic/test-model", "test-model ", "TEST-MODEL", ""])
def test_another_model_is_refused(asked: str) -> None:
    refusal = refused(encode(model=asked))
    assert (refusal.status, refusal.code, refusal.model_asked) == (404, "model_not_found", asked)
    assert "'test-model'" in str(refusal)


def test_a_model_that_stands_there_twice_goes_out_once() -> None:
    raw = b'{"model": "dear", "messages": [], "model": "test-model"}'
    assert read_request(raw, trial_key()).body.count(b'"model"') == 1
    assert refused(b'{"model": "test-model", "model": "dear"}').status == 404


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b"{}", b'{"model": 1}']
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    assert refused(raw).status == 400


def test_a_body_too_large_is_refused() -> None:
    refusal = refused(b" " * (MAX_BODY + 1))
    assert (refusal.status, "32 MiB" in str(refusal)) == (413, True)


@pytest.mark.parametrize(
    "more", [{"fallbacks": ["dear"]}, {"models": ["dear"]}, {"extra_body": {"api_base": "x"}}]
)
def test_no_key_chooses_another_model_or_server(more: dict[str, Any]) -> None:
    assert refused(encode(**more)).status == 400


def test_other_extra_keys_pass() -> None:
    assert read_request(encode(extra_body={"thinking": {"type": "enabled"}}), trial_key())

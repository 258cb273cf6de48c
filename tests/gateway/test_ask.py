"""Questions of the harness itself, which go the same way as an agent's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_goat.errors import Cause, GatewayError, UserError
from pytest_goat.gateway import ask, make_gateway
from pytest_goat.gateway.base import Seen, Usage
from tests.gateway.calls import MODEL, running, trial_key
from tests.gateway.providers import KEY
from tests.support.model_server import Answer, ModelServer, Reply, Status


def asked(script: Sequence[Reply]) -> tuple[str, Seen]:
    """The answer to one question, and what was recorded."""

    async def scenario(url: str) -> tuple[str, Seen]:
        gateway = make_gateway([MODEL], url, KEY)
        async with running(gateway):
            endpoint = gateway.open(trial_key())
            try:
                text = await endpoint.ask("How good is it?")
            except GatewayError as error:
                text = f"{error.cause}: {error}"
            return text, await endpoint.seen()

    with ModelServer(script) as server:
        answer, seen = asyncio.run(scenario(server.url))
        sent = [request.json for request in server.requests]
    assert all(body["messages"] == [{"role": "user", "content": "How good is it?"}] for body in sent)
    assert all(not body.get("stream") for body in sent)
    return answer, seen


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "PAUSES", (0.0, 0.0))


def test_the_text_comes_back_and_the_call_is_recorded() -> None:
    answer, seen = asked([Answer("Very good.")])
    assert answer == "Very good."
    assert (seen.turns, seen.usage) == (1, Usage(10, 0, 5, unpriced=1))


def test_an_answer_without_text_is_empty() -> None:
    assert asked([Answer("")])[0] == ""


def test_failures_that_may_pass_are_tried_again() -> None:
    answer, seen = asked([Status(429), Status(500), Answer("Good.")])
    assert answer == "Good."
    assert [call.cause for call in seen.calls] == [Cause.RATE_LIMITED, Cause.PROVIDER_ERROR, None]


def test_but_not_for_ever() -> None:
    answer, seen = asked([Status(500, f"down, {KEY}")] * 9)
    assert answer == "provider_error: HTTP 500: down, [redacted]"
    assert len(seen.calls) == 3


def test_failures_that_stay_are_not() -> None:
    answer, seen = asked([Status(401)] * 9)
    assert answer.startswith("auth: ")
    assert len(seen.calls) == 1


def test_a_judge_can_be_replayed(tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "task.yaml").write_text("turns: [{text: Good}]")

    async def scenario() -> str:
        gateway = make_gateway(["replay:judge"])
        async with running(gateway):
            return await gateway.open(trial_key("replay:judge", "task", tmp_path)).ask("How good?")

    assert asyncio.run(scenario()) == "Good"


def test_a_closed_endpoint_asks_nothing() -> None:
    async def scenario() -> None:
        gateway = make_gateway([MODEL], "http://127.0.0.1:1/v1")
        async with running(gateway):
            endpoint = gateway.open(trial_key())
            await endpoint.close()
            with pytest.raises(GatewayError, match="closed"):
                await endpoint.ask("x")

    asyncio.run(scenario())


def test_models_that_nobody_named() -> None:
    async def scenario() -> None:
        gateway = make_gateway([MODEL, "replay"], "http://127.0.0.1:1/v1")
        assert gateway.name == "direct+replay"
        async with running(gateway):
            with pytest.raises(UserError, match="no model 'other', only: replay, test-model"):
                gateway.open(trial_key("other"))
            with pytest.raises(UserError, match="no model 'other'"):
                await gateway.preflight("other", [])

    asyncio.run(scenario())

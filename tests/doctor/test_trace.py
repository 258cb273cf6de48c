"""Whether traces arrive, asked of a recorder that plays Langfuse at the wire."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_goat.doctor import trace
from pytest_goat.doctor.finding import Finding, State, look_at
from pytest_goat.doctor.trace import trace_probe
from tests.traces.recorder import BASIC, SECRET, Recorder, recorder


@pytest.fixture
def langfuse() -> Iterator[Recorder]:
    with recorder() as told:
        yield told


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_PAUSE", 0.01)
    monkeypatch.setattr(trace, "SHOWN_WITHIN", 10.0)
    monkeypatch.setattr(trace, "SENT_WITHIN", 1.0)


def look(environ: dict[str, str]) -> Finding:
    (finding,) = look_at([trace_probe(environ)])
    return finding


@pytest.mark.parametrize("way", ["/api/public/traces/", "/api/public/v2/observations"])
def test_one_that_arrives_is_found_back_after_a_while(langfuse: Recorder, way: str) -> None:
    langfuse.shown_after, langfuse.routes = 5, (way,)
    found = look(langfuse.env)
    (span,) = langfuse.spans
    assert found.state is State.OK
    assert found.words.endswith(f"{langfuse.host}/trace/{span.trace_id.hex()}")
    assert len(langfuse.gets) > 5
    assert langfuse.scores == []


def test_one_that_is_not_shown(langfuse: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "SHOWN_WITHIN", 0.3)
    langfuse.shown_after = 10**6
    found = look(langfuse.env)
    assert found.state is State.MISSING
    assert found.words == f"{langfuse.host} took one, and does not show it after 0.3 s"
    assert f"{langfuse.host}/trace/{langfuse.spans[0].trace_id.hex()}" in found.mend


def test_keys_that_are_refused(langfuse: Recorder) -> None:
    found = look(langfuse.env | {"LANGFUSE_SECRET_KEY": f"{SECRET}-of-another"})
    assert found.state is State.MISSING
    assert "It refuses LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY" in found.mend
    assert SECRET not in repr(found)


def test_a_langfuse_that_takes_no_traces(langfuse: Recorder) -> None:
    langfuse.status = 404
    found = look(langfuse.env)
    assert found.state is State.MISSING
    assert "3.63" in found.mend


def test_nobody_is_there(langfuse: Recorder) -> None:
    found = look(langfuse.env | {"LANGFUSE_HOST": "http://127.0.0.1:9"})
    assert found.state is State.MISSING
    assert "http://127.0.0.1:9 does not answer: is LANGFUSE_HOST right?" in found.mend


def test_another_receiver_can_only_be_sent_to(langfuse: Recorder) -> None:
    authorization = f"Authorization={BASIC}"
    given = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{langfuse.host}/api/public/otel/v1/traces"}
    found = look(given | {"OTEL_EXPORTER_OTLP_HEADERS": authorization})
    assert (found.state, len(langfuse.spans), langfuse.gets) == (State.OK, 1, [])
    assert "took one" in found.words
    refused = look(given)
    assert refused.state is State.MISSING
    assert "OTEL_EXPORTER_OTLP_HEADERS" in refused.mend


def test_without_a_receiver_nothing_is_sent() -> None:
    found = look({})
    assert found.state is State.SKIPPED
    assert "LANGFUSE_HOST" in found.mend


def test_without_opentelemetry(langfuse: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest_goat.traces.sender", None)
    found = look(langfuse.env)
    assert replace(found, part="") == Finding(
        "", State.MISSING, "traces are not sent", "pip install 'pytest-goat[langfuse]'"
    )

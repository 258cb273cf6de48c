"""The shelf in memory and on Modal, and the log that is kept on either."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import modal
import pytest
from modal.client import _Client

from pytest_goat.errors import Cause, GatewayError, TaskError
from pytest_goat.gateway import dict_shelf, recordings
from pytest_goat.gateway.base import ModelCall, Usage
from pytest_goat.gateway.dict_shelf import DictShelf
from pytest_goat.gateway.log import Claim, TrialLog, entry_key, read_log
from pytest_goat.gateway.recording import Take, ToolCall, Turn
from pytest_goat.gateway.recordings import Recording, ShelfRecordings, recording_key
from pytest_goat.gateway.shelf import MemoryShelf, Shelf
from tests.gateway.calls import trial_key
from tests.support.modal import RunningServer, modal_server

NUMBERS = itertools.count()
CALL = ModelCall(3.0, 2.0, 0.5, 429, Cause.RATE_LIMITED, "slow", "m", "n", "", 0, Usage(1, 2, 3, 4, 0.5))


@pytest.fixture(scope="module")
def running_server() -> Iterator[RunningServer]:
    with modal_server() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.env.items():
            patch.setenv(name, value)
        # The SDK has one client for each process, which may still be that of another module's server.
        _Client._set_env_client(None)
        yield running
        modal.Client.from_env().close()
        _Client._set_env_client(None)


@pytest.fixture
def server(running_server: RunningServer) -> Iterator[RunningServer]:
    running_server.reset_calls()
    yield running_server
    running_server.clear_faults()


@pytest.fixture(params=["memory", "dict"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    if request.param == "memory":
        return MemoryShelf()
    request.getfixturevalue("server")
    return DictShelf(name=f"shelf-{next(NUMBERS)}")


def test_what_is_put_is_got(shelf: Shelf) -> None:
    async def scenario() -> None:
        assert await shelf.get("a/b") is None
        await shelf.put("a/b", b"\x00one")
        assert await shelf.get("a/b") == b"\x00one"
        await shelf.put("a/b", b"two")
        assert not await shelf.put_new("a/b", b"three")
        assert not await shelf.put_new("a/b", b"two")
        assert await shelf.get("a/b") == b"two"
        assert await shelf.put_new("empty", b"")
        assert await shelf.get("empty") == b""

    asyncio.run(scenario())


def test_of_many_who_put_anew_one_wins(shelf: Shelf) -> None:
    async def scenario() -> None:
        values = [str(number).encode() for number in range(20)]
        won = await asyncio.gather(*(shelf.put_new("key", value) for value in values))
        assert won.count(True) == 1
        assert await shelf.get("key") == values[won.index(True)]

    asyncio.run(scenario())


def numbers(claims: list[Claim]) -> list[int]:
    return [claim.number for claim in claims]


def test_calls_are_numbered_without_a_gap_whoever_claims_them(shelf: Shelf) -> None:
    async def scenario() -> None:
        one, two = (TrialLog(shelf, "run", "trial") for _ in range(2))
        first = await asyncio.gather(*(one.claim() for _ in range(9)))
        second = await asyncio.gather(*((one, two)[n % 2].claim() for n in range(8)))
        third = [await two.claim(), await one.claim(), await TrialLog(shelf, "run", "trial").claim()]
        assert numbers(first) == list(range(9))
        assert sorted(numbers(second)) == list(range(9, 17))
        assert numbers(third) == [17, 18, 19]
        assert numbers([await TrialLog(shelf, "run", "other").claim()]) == [0]
        entries = await read_log(shelf, "run", "trial", patience=0)
        assert [entry.id for entry in entries] == [
            claim.entry.id for claim in sorted([*first, *second, *third], key=lambda claim: claim.number)
        ]

    asyncio.run(scenario())


def test_a_call_comes_back_as_it_was(shelf: Shelf) -> None:
    async def scenario() -> None:
        trial = TrialLog(shelf, "run", "trial")
        claim = await trial.claim()
        await trial.end(claim, CALL)
        [entry] = await read_log(shelf, "run", "trial")
        call = entry.as_call()
        assert call.started == claim.entry.at
        assert (call.cause, call.usage, call.first_byte, call.message) == (
            CALL.cause, CALL.usage, CALL.first_byte, CALL.message,
        )  # fmt: skip
        assert await trial.spent() == 0.5
        other = TrialLog(shelf, "run", "trial")
        await other.end(await other.claim(), CALL)
        assert await other.spent() == 1.0

    asyncio.run(scenario())


def test_a_reader_waits_for_calls_under_way(shelf: Shelf) -> None:
    async def scenario() -> None:
        trial = TrialLog(shelf, "run", "trial")
        claims = [await trial.claim() for _ in range(3)]
        await trial.end(claims[1], CALL)
        reading = asyncio.create_task(read_log(shelf, "run", "trial", patience=30))
        await asyncio.sleep(0.1)  # what is tested is that it waits
        assert not reading.done()
        later = await trial.claim()
        for claim in (claims[2], later, claims[0]):
            await trial.end(claim, CALL)
        assert [entry.call is not None for entry in await reading] == [True] * 4

    asyncio.run(scenario())


def on_modal(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


@asynccontextmanager
async def fresh(name: str) -> AsyncIterator[DictShelf]:
    """A shelf whose Dict is there, so that a fault meets the calls that a test makes."""
    shelf = DictShelf(name=name)
    await shelf.get("x")
    yield shelf


@pytest.mark.parametrize("kind", ["unavailable", "resource_exhausted", "reset", "abort", "hang"])
def test_faults_of_modal_that_pass(server: RunningServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dict_shelf, "_DEADLINE", 1.0)
    monkeypatch.setattr(dict_shelf, "_PAUSES", (0.0, 0.0))

    async def scenario() -> None:
        async with fresh(f"faults-{kind}") as shelf:
            for rpc in ("DictGet", "DictUpdate"):
                server.fault(rpc, kind, times=1)
            await shelf.put("key", b"value")
            assert await shelf.get("key") == b"value"

    on_modal(scenario())


@pytest.mark.parametrize("kind", ["unavailable", "permission_denied", "hang"])
def test_faults_of_modal_that_stay(server: RunningServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dict_shelf, "_DEADLINE", 1.0 if kind == "unavailable" else 0.1)
    monkeypatch.setattr(dict_shelf, "_PAUSES", (0.0, 0.0))

    async def scenario() -> None:
        async with fresh(f"stay-{kind}") as shelf:
            server.fault("DictGet", kind, times=-1)
            with pytest.raises(GatewayError, match="goat doctor") as caught:
                await shelf.get("key")
            assert caught.value.cause is Cause.UNREACHABLE
            if kind == "permission_denied":
                assert server.calls()["DictGet"] == 2

    on_modal(scenario())


def test_a_claim_whose_reply_is_lost_is_still_ones_own(server: RunningServer) -> None:
    async def scenario() -> None:
        async with fresh("lost") as shelf:
            server.set(idempotency=False)
            server.fault("DictUpdate", "lost_reply", times=1)
            trial = TrialLog(shelf, "run", "trial")
            assert numbers([await trial.claim(), await trial.claim()]) == [0, 1]
            assert await shelf.get(entry_key("run", "trial", 2)) is None

    on_modal(scenario())


def test_a_claim_takes_one_call_of_modal_and_so_does_its_end(server: RunningServer) -> None:
    async def scenario() -> None:
        async with fresh("counted") as shelf:
            trial = TrialLog(shelf, "run", "trial")
            server.reset_calls()
            await trial.end(await trial.claim(), CALL)
            assert server.calls() == {"DictUpdate": 2}

    on_modal(scenario())


def test_recordings_are_forgotten_when_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "_KEPT", 250)

    async def scenario() -> None:
        shelf = MemoryShelf()
        source = ShelfRecordings(shelf)
        for number in range(4):
            recording = Recording("task.yaml", Take((Turn(text=f"{number}"),)))
            await shelf.put(recording_key("run", str(number)), recording.to_bytes())
        for number in (0, 1, 2, 0, 3, 1):
            key = dataclasses.replace(trial_key(), recording=str(number))
            assert (await source.find(key)).take.turns[0].text == str(number)
            assert source._size <= 250

    asyncio.run(scenario())


def test_a_recording_is_read_as_it_was_sent() -> None:
    turns = (
        Turn(
            "text", (ToolCall("Bash", {"command": "ls", "n": [1, {"k": None}]}),), Usage(1, 2, 3, 4), "length"
        ),
        Turn(error=(429, "slow")),
        Turn("only text"),
    )
    recording = Recording("suite/replay/task.yaml", Take(turns, "<w>", "{home}"))
    assert Recording.from_bytes(recording.to_bytes()) == recording
    for wrong in (b"", b"[]", b"{}", b'{"source": "x"}', b'{"source": "x", "turns": [{}]}', b"[" * 100_000):
        with pytest.raises(TaskError):
            Recording.from_bytes(wrong)

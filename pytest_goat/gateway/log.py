"""What a deployed gateway sees of a trial: a log on the shelf, written by all containers that serve it.

Call n is one entry: claimed by the container that took the call before the model is asked, and replaced when
the call has ended, before the agent gets the last byte of its answer. Numbers have no gap, so a reader goes
on until one is free.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_goat.errors import Cause
from pytest_goat.gateway import serving
from pytest_goat.gateway.base import ModelCall, Usage, seconds_waited
from pytest_goat.gateway.heard import Heard
from pytest_goat.gateway.shelf import Shelf

PATIENCE = 5.0
"""Seconds that a reader waits for calls under way."""

_POLL = 0.05
"""Seconds between two looks at a call that is under way."""
_AT_ONCE = 32
"""Entries that are read side by side, at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of the log."""

    id: str
    """Tells the claim of this call from that of another container for the same number."""
    at: float
    """When it was claimed: seconds since the epoch, by the container's clock."""
    call: ModelCall | None = None
    """None while it is under way; its `started` is 0."""
    waited: float = 0.0
    """Seconds in which a rate limit held it back before it was sent; known while it is under way."""
    held: bool = False
    """It is held back since it was claimed."""
    heard: Heard | None = None
    """What was answered, where that is recorded."""

    def to_bytes(self) -> bytes:
        call = None if self.call is None else dataclasses.asdict(self.call)
        known = {"id": self.id, "at": self.at, "call": call, "waited": self.waited, "held": self.held}
        if self.heard is not None:
            known["heard"] = self.heard.to_json()
        return json.dumps(known).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        content = json.loads(data)
        call = content["call"]
        ended = None if call is None else call_from(call)
        heard = Heard.from_json(content["heard"]) if "heard" in content else None
        return cls(content["id"], content["at"], ended, content["waited"], content["held"], heard)

    def as_call(self) -> ModelCall:
        """The call, `started` in seconds since the epoch; while it is under way, as one that was hung up."""
        if self.call is not None:
            return dataclasses.replace(self.call, started=self.at)
        duration = max(0.0, time.time() - self.at)
        waited = duration if self.held else self.waited
        usage = Usage(unpriced=0 if self.held else 1)
        return ModelCall(
            self.at, duration, None, 0, None, "", "", "", "", 0, usage, hung_up=True, waited=waited
        )


def call_from(content: Mapping[str, Any]) -> ModelCall:
    """The call whose `dataclasses.asdict` went through JSON; what another version added is left out.

    Raises `TypeError`, `ValueError` or `LookupError` when it is none.
    """
    known = _known(ModelCall, content)
    cause = known["cause"]
    usage = Usage(**_known(Usage, known["usage"]))
    return ModelCall(**{**known, "cause": None if cause is None else Cause(cause), "usage": usage})


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    names = {row.name for row in dataclasses.fields(kind)}
    return {name: value for name, value in content.items() if name in names}


@dataclass(frozen=True, slots=True)
class Claim:
    """A call under way, as the log has it."""

    number: int
    entry: Entry


class TrialLog:
    """The log of one attempt of a trial, as one container writes it. Methods raise `GatewayError`."""

    def __init__(self, shelf: Shelf, run: str, attempt: str) -> None:
        self._shelf, self._run, self._attempt = shelf, run, attempt
        self._next = 0
        self._claiming = asyncio.Lock()
        self._costs: dict[int, float] = {}

    async def claim(self) -> Claim:
        """Begin a call. Raises `Refused` when the trial has made all that it may."""
        async with self._claiming:
            number = self._next
            entry = Entry(secrets.token_hex(8), time.time())
            value = entry.to_bytes()
            while True:
                if number >= serving.MAX_CALLS:
                    raise serving.too_many_calls()
                # A put whose reply was lost is tried again, and then finds what it has put itself.
                if await self._shelf.put_new(self._key(number), value) or value == await self._get(number):
                    self._next = number + 1
                    return Claim(number, entry)
                number = await self._first_free(number)

    async def hold(self, claim: Claim, waited: float, *, held: bool) -> None:
        """A rate limit holds back the call that was begun as `claim`, or has done so for `waited` seconds."""
        entry = dataclasses.replace(claim.entry, waited=waited, held=held)
        await self._shelf.put(self._key(claim.number), entry.to_bytes())

    async def end(self, claim: Claim, call: ModelCall, heard: Heard | None = None) -> None:
        """The call that was begun as `claim` has come to its end."""
        entry = dataclasses.replace(claim.entry, call=dataclasses.replace(call, started=0.0), heard=heard)
        self._costs[claim.number] = call.usage.cost or 0.0
        await self._shelf.put(self._key(claim.number), entry.to_bytes())

    async def spent(self) -> float:
        """USD of all calls that have ended and of whose cost somebody told."""
        for number in range(self._next):
            if number not in self._costs and (value := await self._get(number)) is not None:
                call = Entry.from_bytes(value).call
                if call is not None:
                    self._costs[number] = call.usage.cost or 0.0
        return sum(self._costs.values())

    async def _first_free(self, taken: int) -> int:
        """The first free number after one that is taken, in few looks: others may have made many calls."""
        step = 1
        while await self._get(taken + step) is not None:
            taken += step
            step *= 2
        free = taken + step
        while free - taken > 1:
            middle = (taken + free) // 2
            if await self._get(middle) is None:
                free = middle
            else:
                taken = middle
        return free

    async def _get(self, number: int) -> bytes | None:
        return await self._shelf.get(self._key(number))

    def _key(self, number: int) -> str:
        return entry_key(self._run, self._attempt, number)


def entry_key(run: str, attempt: str, number: int) -> str:
    return f"seen/{run}/{attempt}/{number}"


async def read_log(shelf: Shelf, run: str, attempt: str, patience: float = PATIENCE) -> list[Entry]:
    """All calls of an attempt, in the order in which they were claimed.

    Those under way get `patience` seconds to end. Raises `GatewayError`.
    """
    until = time.monotonic() + patience
    entries: list[Entry] = []
    while True:
        under_way = [number for number, entry in enumerate(entries) if entry.call is None]
        for number, entry in zip(under_way, await _read(shelf, run, attempt, under_way), strict=True):
            entries[number] = entry or entries[number]
        entries += await _after(shelf, run, attempt, len(entries))
        if all(entry.call for entry in entries) or time.monotonic() >= until:
            return entries
        await asyncio.sleep(_POLL)


async def waited(shelf: Shelf, run: str, attempt: str) -> float:
    """Seconds in which a rate limit has held back calls of an attempt so far. Raises `GatewayError`."""
    return seconds_waited(entry.as_call() for entry in await read_log(shelf, run, attempt, patience=0))


async def _after(shelf: Shelf, run: str, attempt: str, start: int) -> list[Entry]:
    """The entries from number `start` on."""
    found: list[Entry] = []
    many = 4
    while True:
        first = start + len(found)
        for entry in await _read(shelf, run, attempt, range(first, first + many)):
            if entry is None:
                return found
            found.append(entry)
        many = min(2 * many, _AT_ONCE)


async def _read(shelf: Shelf, run: str, attempt: str, numbers: Iterable[int]) -> list[Entry | None]:
    values = await asyncio.gather(*(shelf.get(entry_key(run, attempt, number)) for number in numbers))
    return [None if value is None else Entry.from_bytes(value) for value in values]

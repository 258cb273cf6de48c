"""Which turns of a take answer a request."""

from __future__ import annotations

from collections.abc import Callable

from pytest_goat.gateway.fingerprint import fingerprint
from pytest_goat.gateway.recording import Asked, Take, Turn
from pytest_goat.gateway.request import ModelRequest

_LIKENESSES: tuple[Callable[[Asked, Asked], bool], ...] = (
    lambda one, other: (one.opening, one.last) == (other.opening, other.last),
    # Output of a tool may drift in words that are not masked, and so may a system prompt.
    lambda one, other: (one.opening, one.role) == (other.opening, other.role),
    lambda one, other: one.last == other.last,
)
"""What two requests have in common that hold as many answers, from the surest on."""


def answers_to(take: Take, request: ModelRequest) -> tuple[Turn, ...]:
    """The turns recorded for what `request` asks: of those with as many answers in them, the most alike.

    Several with the same `asked` answer what was asked several times, in their order; with different ones,
    which is meant cannot be told.
    """
    if take.turns[0].asked is None:
        return take.turns[request.turn - 1 : request.turn]
    asked = fingerprint(request.content)
    for alike in _LIKENESSES:
        found = tuple(
            turn
            for turn in take.turns
            if turn.asked and turn.asked.answers == asked.answers and alike(turn.asked, asked)
        )
        if found:
            return found
    return ()

"""From what was heard in a trial to the take of a recording."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from pytest_goat.gateway.causes import OVER_BUDGET
from pytest_goat.gateway.heard import Heard, How
from pytest_goat.gateway.recording import WORKDIR, Take, ToolCall, Turn
from pytest_goat.gateway.scrub import Marks, Person, Scrubber
from pytest_goat.redact import Redactor

HOME = "{home}"


class NoTake(Exception):
    """What was heard cannot be recorded. `str(error)` says why."""


def make_take(heard: Sequence[Heard], redactor: Redactor, person: Person, ids: Mapping[str, str]) -> Take:
    """The take of a trial, scrubbed; `ids` as for `Scrubber`. Raises `NoTake`."""
    for answer in heard:
        if answer.problem:
            raise NoTake(answer.problem)
    kept = _last_said(heard)
    if not kept:
        raise NoTake("no model was asked")
    turns = [dataclasses.replace(answer.turn, asked=answer.asked) for answer in kept]
    if all(answer.asked.answers == number for number, answer in enumerate(kept)):
        turns = [answer.turn for answer in kept]
    marks = Marks(_unused(WORKDIR, turns), _unused(HOME, turns))
    scrubber = Scrubber(redactor, person, kept[0].workdir, marks, ids)
    scrubbed = tuple(_scrub(turn, scrubber) for turn in turns)
    return Take(scrubbed, marks.workdir, marks.home if _is_in(marks.home, scrubbed) else "")


def over_budget(heard: Sequence[Heard]) -> list[Heard]:
    """What was heard of a trial whose budget ran out, and the refusal, which a replay without costs needs."""
    if not heard:
        return []
    last = heard[-1]
    turn = Turn(error=(403, f"the trial had spent all that it might ({OVER_BUDGET})"))
    asked = dataclasses.replace(last.asked, answers=last.asked.answers + 1, last="tool-unheard")
    return [*heard, dataclasses.replace(last, asked=asked, how=How.FAILED, turn=turn)]


def _last_said(heard: Sequence[Heard]) -> list[Heard]:
    """Without what an agent asked again: of failures and cut answers the last, where no whole one came."""
    answered = {answer.asked for answer in heard if answer.how is How.WHOLE}
    last = {answer.asked: answer for answer in heard}
    return [
        answer
        for answer in heard
        if answer.how is How.WHOLE or (answer.asked not in answered and answer is last[answer.asked])
    ]


def _unused(mark: str, turns: Iterable[Turn]) -> str:
    """`mark`, or what is like it and stands in no text of the model's own."""
    others = (f"<{mark.strip('{}')}{number or ''}>" for number in itertools.count())
    return next(found for found in itertools.chain([mark], others) if not _is_in(found, turns))


def _is_in(mark: str, turns: Iterable[Turn]) -> bool:
    return any(mark in str(dataclasses.astuple(turn)) for turn in turns)


def _scrub(turn: Turn, scrubber: Scrubber) -> Turn:
    text = scrubber.text
    return dataclasses.replace(
        turn,
        text=text(turn.text),
        reasoning=text(turn.reasoning),
        tools=tuple(
            ToolCall(text(tool.name), scrubber.value(dict(tool.arguments)), text(tool.raw))
            for tool in turn.tools
        ),
        error=(turn.error[0], text(turn.error[1])) if turn.error else None,
    )

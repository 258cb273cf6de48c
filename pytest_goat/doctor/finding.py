"""What a look at one part of a run's needs finds, and how several looks are taken one after the other."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pytest_goat.errors import GoatError


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    MISSING = "missing"
    """It is needed, and is not there or does not work."""
    SKIPPED = "skipped"
    """It is not needed, or could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of what a run needs."""

    part: str
    state: State
    words: str
    """What it is, or what is wrong with it."""
    mend: str = ""
    """The command, or what else is to be done."""


class Answer(NamedTuple):
    """What a probe gives: a finding whose part is known."""

    state: State
    words: str
    mend: str = ""


def ok(words: str, mend: str = "") -> Answer:
    return Answer(State.OK, words, mend)


def missing(words: str, mend: str) -> Answer:
    return Answer(State.MISSING, words, mend)


def skipped(words: str, mend: str = "") -> Answer:
    return Answer(State.SKIPPED, words, mend)


@dataclass(frozen=True, slots=True)
class Probe:
    """Looks at one part."""

    part: str
    look: Callable[[], Answer]
    """May raise: a `GoatError` says what is missing in its first line, and what mends it in the others."""
    seconds: float
    """After which it is given up."""
    base: str = ""
    """The part without which there is nothing to look at."""


def look_at(probes: Iterable[Probe]) -> Iterator[Finding]:
    """Take the looks in turn. Never raises, and none of them holds up the others for longer than it may."""
    held_up: dict[str, str] = {}
    for probe in probes:
        first = held_up.get(probe.base, "")
        answer = skipped(f"not looked at: {first} comes first") if first else _answer(probe)
        if answer.state is not State.OK:
            held_up[probe.part] = first or probe.part
        yield Finding(probe.part, *answer)


def _answer(probe: Probe) -> Answer:
    given: Future[Answer] = Future()

    def run() -> None:
        try:
            given.set_result(probe.look())
        except BaseException as error:
            given.set_exception(error)

    # A look that hangs is left behind, and ends with the process.
    threading.Thread(target=run, name=f"goat-doctor-{probe.part}", daemon=True).start()
    try:
        return given.result(probe.seconds)
    except GoatError as error:
        words, _, mend = str(error).partition("\n")
        return missing(words, textwrap.dedent(mend).strip())
    except TimeoutError:
        return missing(f"no answer within {probe.seconds:g} s", "Try again: what sleeps may be awake then.")
    except Exception as error:
        return missing(f"{type(error).__name__}: {error}", "Is this a bug? Please report it.")


_MARKS = {State.OK: "ok", State.MISSING: "MISSING", State.SKIPPED: "-"}
_INDENT = 8
_PARTS = 13


def finding_text(finding: Finding) -> str:
    """Its lines for people; what mends it stands below."""
    head = f"{_MARKS[finding.state]:{_INDENT}}{finding.part:{_PARTS}}{finding.words}"
    mend = textwrap.indent(finding.mend, " " * (_INDENT + _PARTS + 2))
    return f"{head}\n{mend}" if mend else head

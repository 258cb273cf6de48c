from __future__ import annotations

import threading
import time

from pytest_goat.doctor.finding import (
    Answer,
    Finding,
    Probe,
    State,
    finding_text,
    look_at,
    missing,
    ok,
    skipped,
)
from pytest_goat.errors import UserError


def looks(*probes: Probe) -> dict[str, tuple[str, str, str]]:
    return {found.part: (found.state.value, found.words, found.mend) for found in look_at(probes)}


def refuse() -> Answer:
    raise UserError("it is gone\n  Run this.\n  Or that.")


def stumble() -> Answer:
    raise KeyError("what")


def test_what_is_wrong_and_what_mends_it_are_told_apart() -> None:
    assert looks(Probe("part", refuse, 5)) == {"part": ("missing", "it is gone", "Run this.\nOr that.")}


def test_what_stands_on_a_part_that_is_missing_is_not_looked_at() -> None:
    def never() -> Answer:
        raise AssertionError("looked at")

    found = looks(
        Probe("token", refuse, 5),
        Probe("environment", never, 5, "token"),
        Probe("volume", never, 5, "environment"),
        Probe("agent", lambda: ok("there"), 5),
    )
    assert found["environment"] == found["volume"] == ("skipped", "not looked at: token comes first", "")
    assert found["agent"] == ("ok", "there", "")


def test_what_stands_on_a_part_that_is_not_configured_is_not_looked_at() -> None:
    found = looks(Probe("token", lambda: skipped("none"), 5), Probe("volume", stumble, 5, "token"))
    assert found["volume"][:2] == ("skipped", "not looked at: token comes first")


def test_a_look_that_hangs_is_given_up() -> None:
    held = threading.Event()

    def hang() -> Answer:
        held.wait(30)
        return ok("at last")

    began = time.monotonic()
    found = looks(Probe("gateway", hang, 0.1), Probe("agent", lambda: ok("there"), 5))
    held.set()
    assert time.monotonic() - began < 10
    assert found["gateway"][:2] == ("missing", "no answer within 0.1 s")
    assert found["agent"][0] == "ok"


def test_a_look_that_breaks_breaks_nothing() -> None:
    found = looks(Probe("volume", stumble, 5), Probe("agent", lambda: ok("there"), 5))
    assert found["volume"][:2] == ("missing", "KeyError: 'what'")
    assert found["agent"][0] == "ok"


def test_columns() -> None:
    assert finding_text(Finding("token", State.OK, "taken")) == "ok      token        taken"
    assert finding_text(Finding("volume", *missing("gone", "one\ntwo"))).splitlines() == [
        "MISSING volume       gone",
        "                       one",
        "                       two",
    ]

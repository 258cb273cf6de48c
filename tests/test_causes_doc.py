"""`docs/causes.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import causes
from pytest_goat.trial import NEVER_RETRIED

PAGE = (Path(__file__).parents[1] / "docs" / "causes.md").read_text()
WORK = {cause for cause in Cause if list(Cause).index(cause) < list(Cause).index(Cause.UNREACHABLE)}
"""Causes that say something about the model or its agent."""


def rows(width: int) -> list[tuple[str, ...]]:
    lines = (line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| "))
    return [tuple(cell.strip() for cell in line) for line in lines if len(line) == width]


def test_the_rows_of_the_gateway_are_all_there_in_their_order() -> None:
    known = re.findall(r"^\| (.+) \| (\w+) \|$", causes.__doc__ or "", re.MULTILINE)
    told = [(words, cause.strip("`")) for words, cause, _ in rows(3)]
    assert [row for row in told if row in known] == [row for row in known if row[1] != "cause"]


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_its_rule(cause: Cause) -> None:
    told = {rule for _, causes, rule in rows(3) if f"`{cause.value}`" in causes}
    again = "error" if cause in NEVER_RETRIED else "error, tried again"
    assert told == {"failed" if cause in WORK else again}

"""The JUnit report that pytest writes, which the work under test can have written instead."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from pytest_goat.checks.text import clean, shorten

MAX_LINES = 6
"""Lines of one failure."""
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


class BadReport(ValueError):
    """It is no report; `str(error)` is why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test as the report tells of it."""

    dotted: str
    """Module, class and function with dots between, parameters left out. Of a module that could not be
    imported, or skipped itself: the module.
    """
    name: str
    """For people."""
    outcome: str
    """`passed`, `failed` or `skipped`; a test that failed as expected is skipped."""
    message: str = ""
    """Why it failed."""


def read_report(data: bytes) -> list[Case]:
    """The cases of a report. Raises `BadReport`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadReport("pytest's report is not UTF-8") from None
    # Declared entities could make the parser expand them without end; pytest declares none.
    if "<!" in text:
        raise BadReport("pytest's report has been tampered with")
    try:
        root = ET.fromstring(text)  # noqa: S314 - there are no declarations in it
    except ET.ParseError as error:
        raise BadReport(f"pytest's report cannot be read: {error}") from error
    return [_case(element) for element in root.iter("testcase")]


def _case(element: ET.Element) -> Case:
    classname, name = element.get("classname", ""), element.get("name", "")
    outcome, message = "passed", ""
    for child in element:
        if child.tag in OUTCOMES:
            outcome, message = OUTCOMES[child.tag], _message(child)
            break
    dotted = f"{classname}.{name.partition('[')[0]}".strip(".")
    return Case(dotted, clean(shorten(f"{classname}::{name}" if classname else name, 200)), outcome, message)


def _message(element: ET.Element) -> str:
    """The line of the test that failed and why, which pytest marks with > and E; else the message."""
    lines = (element.text or "").splitlines()
    why = [line for line in lines if line.startswith("E  ")][:MAX_LINES]
    where = [line for line in lines if line.startswith(">")][-1:]
    message = (element.get("message") or "").splitlines()[:MAX_LINES]
    return shorten(clean("\n".join([*where, *why] or message)), 1000)

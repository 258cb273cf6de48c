"""Shifts cut into days."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta

from payroll.shifts import Shift, read


def minutes(lines: Iterable[str]) -> dict[tuple[str, date], int]:
    worked: dict[tuple[str, date], int] = defaultdict(int)
    for line in lines:
        shift = read(line)
        for day, seconds in pieces(shift):
            worked[shift.who, day] += seconds // 60
    return dict(worked)


def pieces(shift: Shift) -> Iterator[tuple[date, int]]:
    """The days of a shift, each with its seconds."""
    if shift.start.date() == shift.end.date():
        yield shift.start.date(), (shift.end - shift.start).seconds
        return
    midnight = datetime.combine(shift.start + timedelta(days=1), time(), shift.start.tzinfo)
    yield shift.start.date(), (midnight - shift.start).seconds
    yield midnight.date(), (shift.end - midnight).seconds

"""Shifts cut into days."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta

from payroll.shifts import Shift, read


def minutes(lines: Iterable[str]) -> dict[tuple[str, date], int]:
    worked: dict[tuple[str, date], int] = defaultdict(int)
    for line in lines:
        if not line.strip():
            continue
        shift = read(line)
        for day, seconds in pieces(shift):
            worked[shift.who, day] += seconds
    return {key: seconds // 60 for key, seconds in worked.items() if seconds >= 60}


def pieces(shift: Shift) -> Iterator[tuple[date, int]]:
    """The days of a shift, each with its seconds."""
    start = shift.start
    while start < shift.end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), start.tzinfo)
        end = min(midnight, shift.end)
        yield start.date(), int((end - start).total_seconds())
        start = end

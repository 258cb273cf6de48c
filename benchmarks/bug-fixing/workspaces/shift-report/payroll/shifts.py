"""Lines of the log."""

from dataclasses import dataclass
from datetime import datetime

from payroll.sites import SITES


@dataclass
class Shift:
    who: str
    start: datetime
    end: datetime


def read(line: str) -> Shift:
    who, site, start, end = line.strip().split(",")
    shift = Shift(who, _time(start, site), _time(end, site))
    if shift.end <= shift.start:
        raise ValueError(f"shift ends before it starts: {line.strip()}")
    return shift


def _time(text: str, site: str) -> datetime:
    return datetime.fromisoformat(text[:19]).replace(tzinfo=SITES[site])

"""Ticket numbers: they start again every year."""

import datetime as dt

_last: dict[int, int] = {}


def next_number() -> str:
    """As "2031-0001"."""
    year = dt.datetime.now(dt.timezone.utc).year
    _last[year] = _last.get(year, 0) + 1
    return f"{year}-{_last[year]:04}"

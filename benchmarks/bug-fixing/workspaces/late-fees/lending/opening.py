"""When the library is open."""

from datetime import date, timedelta

SUNDAY = 6
HOLIDAYS = {(1, 1), (5, 1), (12, 24), (12, 25), (12, 31)}


def is_open(day: date) -> bool:
    return day.weekday() != SUNDAY and (day.month, day.day) not in HOLIDAYS


def open_days(after: date, until: date) -> int:
    """Open days after `after`, up to and with `until`."""
    days = 0
    day = after
    while day <= until:
        if is_open(day):
            days += 1
        day += timedelta(days=1)
    return days

"""Fees in cents."""

from datetime import date

from lending.opening import open_days

FORGIVEN = 2
PER_DAY = 25
MOST = 1000
LOST_AFTER = 60


def fee(due: date, returned: date) -> int:
    late = open_days(due, returned)
    if late <= FORGIVEN:
        return 0
    return late * PER_DAY


def bill(loans: list[tuple[date, date]]) -> int:
    """The fee of several books, each given by its due day and the day it came back."""
    return min(sum(fee(due, returned) for due, returned in loans), MOST)


def lost(due: date, today: date) -> bool:
    return (today - due).days > LOST_AFTER

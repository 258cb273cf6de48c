"""Days."""

from datetime import date

from textkit.formats import _formatter

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@_formatter("day")
def show_day(day: date) -> str:
    """A day as "4 Mar 2031"."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def parse_day(text: str) -> date:
    """The day that `show_day` has shown."""
    day, month, year = text.split()
    return date(int(year), MONTHS.index(month) + 1, int(day))


def days_between(one: str, other: str) -> int:
    return abs((parse_day(one) - parse_day(other)).days)

"""The report as text."""

from collections.abc import Iterable

from payroll.days import minutes


def report(lines: Iterable[str]) -> str:
    rows = sorted((day, who, worked) for (who, day), worked in minutes(lines).items())
    return "\n".join(f"{day} {who} {worked // 60}:{worked % 60}" for day, who, worked in rows)

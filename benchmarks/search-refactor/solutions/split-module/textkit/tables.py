"""Tables."""

from collections.abc import Iterable
from datetime import date

from textkit.days import show_day
from textkit.words import shorten


def table(rows: Iterable[Iterable[object]]) -> str:
    """Rows as aligned columns; lines that are too wide are shortened, days are shown as days."""
    cells = [[show_day(cell) if isinstance(cell, date) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ("  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip() for row in cells)
    return "\n".join(shorten(line) for line in lines)

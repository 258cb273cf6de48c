"""What a measurement is given, and the rows of the table that it gives."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
"""The checkout."""
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of every measurement."""

    quick: bool = False
    """Fewer and shorter repetitions: minutes instead of a quarter of an hour, and noisier."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The side of `bound` on which a figure must lie."""

    side: Literal["<", "<=", ">", ">="]
    bound: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. Without a budget it is there to explain the others."""

    what: str
    measured: float
    unit: str
    """`ms`, `s`, `x` for a ratio, "" for a count."""
    budget: Budget | None = None
    note: str = ""
    """What the figure is made of, and under which conditions."""

    @property
    def met(self) -> bool | None:
        """None without a budget."""
        if self.budget is None:
            return None
        return bool(COMPARE[self.budget.side](self.measured, self.budget.bound))

    def cells(self) -> tuple[str, str, str, str]:
        """The row as `HEADINGS` has it."""
        budget = f"{self.budget.side} {self._with_unit(f'{self.budget.bound:g}')}" if self.budget else ""
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return self.what, self._with_unit(_short(self.measured)), budget, met

    def _with_unit(self, figure: str) -> str:
        return f"{figure} {self.unit}".rstrip()


HEADINGS = ("what", "measured", "budget", "met?")


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table that also reads well as it is, each with its note below the table."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    text.insert(1, "|-" + "-|-".join("-" * width for width in widths) + "-|")
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([*text, "", *notes])


def _short(figure: float) -> str:
    return f"{figure:.0f}" if float(figure).is_integer() or abs(figure) >= 100 else f"{figure:.2f}"

"""Figures and tables as text, the same in every report."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_goat.gateway.base import Usage
from pytest_goat.result import Group

ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.?")
"""Terminal sequences: CSI, OSC, and the short ones (ECMA-48)."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Also the marks that turn the direction of writing, and what UTF-8 cannot carry."""


def clean(text: str) -> str:
    """What an agent wrote, safe to print: it cannot steer the terminal."""
    return CONTROL.sub("\ufffd", ESCAPE.sub("", text.replace("\r\n", "\n")))


def tail(text: str, lines: int, chars: int = 8000) -> str:
    """The last `lines` lines, at most `chars` characters, with a note of how much stands before."""
    kept = text.rstrip().splitlines()
    shown = "\n".join(kept[-lines:])
    if len(shown) > chars:
        return f"[... cut ...]\n{shown[-chars:]}"
    return f"[... {len(kept) - lines} lines before ...]\n{shown}" if len(kept) > lines else shown


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate * 100:.1f}%"


def interval(group: Group) -> str:
    """The bounds in whole percents, "-" when nothing counted."""
    lower, upper = group.interval
    return f"{lower * 100:.0f}-{upper * 100:.0f}" if group.counted else "-"


def tokens(usage: Usage) -> str:
    return number(usage.prompt_tokens + usage.completion_tokens)


def number(count: int) -> str:
    """Three digits or so: 950, 12.3k, 1.2M."""
    for limit, divisor, unit in ((1000, 1, ""), (999_950, 1000, "k"), (999_950_000, 10**6, "M")):
        if count < limit:
            return f"{count / divisor:.1f}{unit}" if unit else str(count)
    return f"{count / 10**9:.1f}G"


def money(cost: float | None) -> str:
    """US dollars; "-" when nobody said a price."""
    if cost is None:
        return "-"
    if cost == 0 or cost >= 0.995:
        return f"${cost:.2f}"
    return f"${cost:.4f}"


def spent(usage: Usage) -> str:
    """What is known of the cost, with a "+" where it is not all."""
    return money(usage.cost) + ("+" if usage.cost is not None and usage.unpriced else "")


def spent_in_words(usage: Usage) -> str:
    """The same, with the number of calls whose cost is not known."""
    if usage.cost is None or not usage.unpriced:
        return money(usage.cost)
    return f"{money(usage.cost)} + {count(usage.unpriced, 'call')} of unknown cost"


def seconds(duration: float) -> str:
    """0.3s, 42s, 1m40s, 2h05m."""
    if duration < 9.95:
        return f"{duration:.1f}s"
    whole = round(duration)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    minutes = round(duration / 60)
    return f"{minutes // 60}h{minutes % 60:02d}m"


def count(amount: int, noun: str) -> str:
    """An amount with its noun: "1 trial", "2 trials"."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def label(model: str, variant: str) -> str:
    """A model as it was tried: "gpt-5-mini", "gpt-5-mini+skills"."""
    return model if variant in ("", "baseline") else f"{model}+{variant.lstrip('+')}"


def shorten(text: str, width: int) -> str:
    """The end of a name tells it apart: cut at the start."""
    return text if len(text) <= width else "\u2026" + text[len(text) - width + 1 :]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, min_name: int = 16) -> list[str]:
    """Lines of a table no wider than `width` if it can be: the first column is a name, flush left and
    shortened where it must be; the others are figures, flush right.
    """
    every = [head, *rows]
    figures = [max(len(row[i]) for row in every) for i in range(1, len(head))]
    gap = "  " if width >= 100 else " "
    room = max(min_name, width - sum(figures) - len(gap) * len(figures))
    name = min(room, max(len(row[0]) for row in every))
    return [
        gap.join(
            [shorten(row[0], name).ljust(name), *(c.rjust(w) for c, w in zip(row[1:], figures, strict=True))]
        ).rstrip()
        for row in every
    ]

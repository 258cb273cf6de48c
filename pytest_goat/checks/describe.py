"""The block of text that a failed test shows for its checks."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_goat.checks.base import CheckResult
from pytest_goat.checks.text import indent


def describe_failure(results: Sequence[CheckResult]) -> str:
    """Which checks failed, with what was expected and seen; "" when all passed. Plain text, no colour."""
    wrong = [result for result in results if not result.passed]
    if not wrong:
        return ""
    count = "the check" if len(results) == 1 else f"{len(wrong)} of {len(results)} checks"
    return "\n\n".join([f"{count} failed:", *map(_describe, wrong)])


def _describe(result: CheckResult) -> str:
    if result.error:
        return f"{result.name}\n{_field('could not be run', result.error)}"
    lines = [result.name]
    if result.score > 0:
        lines.append(f"  score: {result.score:g}")
    if result.expected:
        lines.append(_field("expected", result.expected))
    if result.seen:
        lines.append(_field("seen", result.seen))
    return "\n".join(lines)


def _field(label: str, text: str) -> str:
    """`text` beside its label, further lines below it."""
    first, _, more = text.strip("\n").partition("\n")
    head = f"  {label}: {first}".rstrip()
    return f"{head}\n{indent(more, '    ')}" if more else head

"""How a wrong prompt file is reported: all its problems at once, each with its line and field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_goat.errors import TaskError, UserError

SHOWN = 20
"""Problems that one message spells out; a broken generator makes thousands alike."""


class Wrong(Exception):
    """A value is not what its field wants. Readers raise it; who knows the field puts it into `Problems`.

    `line` (1-based) is given where it is known better than by the field's key.
    """

    def __init__(self, problem: str, mend: str = "", line: int = 0) -> None:
        self.problem, self.mend, self.line = problem, mend, line
        super().__init__(problem)


class Noted(Wrong):
    """A value holds others that are wrong, and all of them are in `Problems` already."""

    def __init__(self) -> None:
        super().__init__("holds values that are wrong")


class FileErrors(UserError):
    """All that is wrong with one prompt file or `goat.yaml`; `errors` has each problem by itself."""

    def __init__(self, errors: Sequence[TaskError]) -> None:
        self.errors = tuple(errors)
        lines = [str(error) for error in self.errors[:SHOWN]]
        if len(self.errors) > SHOWN:
            lines.append(f"... and {len(self.errors) - SHOWN} more problems in this file")
        super().__init__("\n".join(lines))


class Problems:
    """The problems of one file, gathered while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.errors: list[TaskError] = []

    def add(self, line: int, field: str, problem: str, mend: str = "") -> None:
        """Note a problem; see `TaskError` for what the arguments are."""
        self.errors.append(TaskError(self.path, line, field, problem, mend))

    def check(self) -> None:
        """Raise `FileErrors` when there was any problem; they come in the order of their lines."""
        if self.errors:
            raise FileErrors(sorted(self.errors, key=lambda error: error.line))

"""How a wrong prompt file is reported: all its problems at once, each with its line and field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_goat.errors import TaskError, UserError

SHOWN = 20
"""Problems that one message spells out; a broken generator makes thousands alike."""


@dataclass(slots=True)
class Problem:
    """What is wrong with a value, and what to write instead."""

    text: str
    mend: str
    line: int
    """1-based; 0 until it is known."""
    field: str = ""
    """The way to it from the value that is being read: `.checks[0].run`."""


class Wrong(Exception):
    """A value is not what its field wants, or holds values that are not; `problems` is never empty.

    Who reads a value needs not know where it stands: each mapping and list on the way out adds its part to
    the fields, so that files that are right pay nothing for it.
    """

    def __init__(self, text: str, mend: str = "", line: int = 0) -> None:
        self.problems = [Problem(text, mend, line)]
        super().__init__(text)

    def below(self, step: str, line: int) -> Wrong:
        """The same, seen from the mapping or list that holds the value at `step`, in `line`."""
        for problem in self.problems:
            problem.field = step + problem.field
            problem.line = problem.line or line
        return self


def raise_all(wrongs: Sequence[Wrong]) -> None:
    """Raise one `Wrong` with the problems of all, if there are any."""
    if wrongs:
        everything = Wrong("")
        everything.problems = [problem for wrong in wrongs for problem in wrong.problems]
        raise everything


def key_step(key: str) -> str:
    """How a field names a key of the mapping before it."""
    return f".{key}" if key.isidentifier() else f"[{key!r}]"


class FileErrors(UserError):
    """All that is wrong with one prompt file or `goat.yaml`; `errors` has each problem by itself."""

    def __init__(self, errors: Sequence[TaskError]) -> None:
        self.errors = tuple(errors)
        lines = [str(error) for error in self.errors[:SHOWN]]
        if len(self.errors) > SHOWN:
            lines.append(f"... and {len(self.errors) - SHOWN} more problems in this file")
        super().__init__("\n".join(lines))


class Inexact(Exception):
    """The file must be read exactly: only so can be told where a key stands, or what is wrong."""


class Problems:
    """The problems of one file, gathered while it is read.

    `quick`: the file is read the quick way, which may leave out where keys stand and words no problem: the
    first one raises `Inexact`.
    """

    def __init__(self, path: Path, quick: bool = False) -> None:
        self._path = str(path)
        self.quick = quick
        self.errors: list[TaskError] = []

    def add(self, wrong: Wrong) -> None:
        """Note what is wrong."""
        if self.quick:
            raise Inexact
        for problem in wrong.problems:
            field = problem.field.removeprefix(".")
            self.errors.append(TaskError(self._path, problem.line, field, problem.text, problem.mend))

    def check(self) -> None:
        """Raise `FileErrors` when there was any problem; they come in the order of their lines."""
        if self.errors:
            raise FileErrors(sorted(self.errors, key=lambda error: error.line))

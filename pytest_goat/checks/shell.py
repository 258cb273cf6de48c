"""The line of a `run` check, read as far as needed: which commands it has, and whether pytest decides it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_goat.checks.finding import CannotRun

SEPARATOR = re.compile(r"[;&|()]+")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
WRAPPERS = frozenset({"!", "command", "env", "exec", "nice", "time", "timeout"})
"""Commands that run the one after them, their own options and numbers apart."""
BRANCHES = frozenset({"||", "!", "if", "while", "until", "case", "for"})
"""Words that let a line succeed where a command in it fails, or not run it at all."""
SELECTORS = ("-k", "-m", "--deselect", "--ignore", "--lf", "--last-failed", "--co", "--collect-only")


@dataclass(frozen=True, slots=True)
class PytestCall:
    """The one pytest command of a line."""

    program: str
    """`pytest`, or the interpreter that runs it."""
    arguments: tuple[str, ...]

    @property
    def selects(self) -> bool:
        """It runs a part of the tests in the files that it is given."""
        return any("::" in word or word.startswith(SELECTORS) for word in self.arguments)

    @property
    def may_probe(self) -> bool:
        """A test that must fail, marked as such, leaves the outcome of the rest as it is."""
        return not self.selects and "--runxfail" not in self.arguments

    def names(self, path: str) -> bool:
        """The file at `path`, or a folder above it, is among the arguments."""
        parents = [path, *map(str, PurePosixPath(path).parents)]
        words = [word.split("::")[0].rstrip("/") for word in self.arguments]
        words = [word.removeprefix("./") for word in words]
        return any(one == word or one.endswith(f"/{word}") for one in parents for word in words if word)


def commands(line: str) -> list[list[str]]:
    """The simple commands of `line` as lists of words; none when its quotes do not match."""
    found: list[list[str]] = [[]]
    for token in _tokens(line):
        if SEPARATOR.fullmatch(token):
            found.append([])
        else:
            found[-1].append(token)
    return [bare for words in found if (bare := _bare(words))]


def pytest_call(line: str) -> PytestCall | None:
    """The pytest command on which the exit code of `line` hangs; None when there is none.

    Where the line makes something else of pytest's exit code (`! pytest`, `pytest || ...`), it is not that
    of the check, and pytest's report says nothing of it. Raises `CannotRun` for a line that leaves no one
    report.
    """
    calls = [call for words in commands(line) if (call := _as_pytest(words)) is not None]
    if not calls or not BRANCHES.isdisjoint(_tokens(line)):
        return None
    if len(calls) > 1:
        raise CannotRun("the line runs pytest more than once: make a check of each")
    if any(word.startswith(("--junitxml", "--junit-xml")) for word in calls[0].arguments):
        raise CannotRun("leave out --junitxml: the check has pytest write its report where it reads it")
    return calls[0]


def _tokens(line: str) -> list[str]:
    lexer = shlex.shlex(line.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return []


def _bare(words: list[str]) -> list[str]:
    """The command without assignments and wrappers before it."""
    wrapped = False
    for position, word in enumerate(words):
        if word in WRAPPERS:
            wrapped = True
        elif not ASSIGNMENT.match(word) and not (wrapped and re.match(r"-|\d", word)):
            return words[position:]
    return []


def _as_pytest(words: list[str]) -> PytestCall | None:
    if PurePosixPath(words[0]).name in ("pytest", "py.test"):
        return PytestCall(words[0], tuple(words[1:]))
    for position in range(len(words) - 1):
        if words[position : position + 2] == ["-m", "pytest"]:
            return PytestCall(words[0], tuple(words[position + 2 :]))
    return None

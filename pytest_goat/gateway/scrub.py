"""What must not stand in a recording that others will read, taken out of it.

| what | becomes |
|---|---|
| secrets by value: keys of providers and services, variables that are named so | `[redacted]` |
| secrets by form: keys of known services, JWTs, private keys, the trial's own key | `[redacted]` |
| the trial's workspace | what stands for the workspace: `{workdir}` |
| the sandbox around it, where it is a folder of this machine | `{workdir}/..` |
| the home folder of whoever records, where it tells who that is | what stands for it: `{home}` |
| the user's name: as a folder, before `@`, in `pytest-of-NAME` | `user` |
| the host's name, where a digit, a dot or a hyphen tells it from a word | `host` |
| ids of the run and of the trial | `run-id`, `trial-id` |

Workspace and home folder are filled in again at replay. The rest is not: a check that wants such a value in
the agent's work fails then.
"""

from __future__ import annotations

import getpass
import os
import posixpath
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_goat.redact import MARK, Redactor

_SECRET_FORMS = re.compile(
    r"""
    \b sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{20,}                   # OpenAI, Anthropic, OpenRouter, ...
    | \b gh[pousr]_[A-Za-z0-9]{30,} | \b github_pat_\w{22,}
    | \b (?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \b AIza[A-Za-z0-9_-]{35}
    | \b xox[abeoprs]-[A-Za-z0-9-]{10,}
    | \b (?:gsk|hf)_[A-Za-z0-9]{30,}
    | \b goat1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+
    | \b eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)

_COMMON_NAMES = frozenset(
    {"admin", "agent", "build", "ci", "debian", "docker", "goat", "home", "localhost", "nobody", "root",
     "runner", "test", "ubuntu", "user", "vagrant", "vscode"}
)  # fmt: skip
"""Names of users and hosts that tell of nobody."""
_MIN_NAME = 3
"""Characters of a user's name."""


Step = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Person:
    """Whose machine records."""

    home: str
    user: str
    host: str

    @classmethod
    def here(cls) -> Person:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a numeric user of a container has no name
            user = ""
        return cls(str(Path.home()), user, socket.gethostname())


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands for places that are filled in again at replay."""

    workdir: str
    home: str


class Scrubber:
    """Scrubs what was said in one trial."""

    def __init__(
        self, redactor: Redactor, person: Person, workdir: str, marks: Marks, ids: Mapping[str, str]
    ) -> None:
        """`workdir`: the workspace inside the sandbox; "" when it is not known. `ids`: id -> its word."""
        self._steps: list[Step] = [
            redactor.text,
            _replacer(_SECRET_FORMS, MARK),
            *_places(workdir, person.home, marks),
            *_names(person),
            *(_replacer(_whole(value), word) for value, word in ids.items() if value),
        ]

    def text(self, text: str) -> str:
        for step in self._steps:
            text = step(text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value, scrubbed in its strings and keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value


def _places(workdir: str, home: str, marks: Marks) -> Iterator[Step]:
    """The longest first: one may lie within another."""
    places = {workdir: marks.workdir}
    if (around := posixpath.dirname(workdir)) not in ("", "/"):
        places[around] = f"{marks.workdir}/.."
    for path in (home, os.path.realpath(home)):
        if posixpath.basename(path) not in _COMMON_NAMES:
            places.setdefault(path, marks.home)
    for path, mark in sorted(places.items(), key=lambda place: -len(place[0])):
        if path.strip("/"):
            # The same letters within a longer path or word are another place.
            pattern = rf"(?<![\w~.-])(?<!\w/){re.escape(path)}(?![\w-]|\.\w)"
            yield _replacer(re.compile(pattern), mark)


def _names(person: Person) -> Iterator[Step]:
    user = re.escape(person.user)
    if len(person.user) >= _MIN_NAME and person.user not in _COMMON_NAMES:
        # A name may be a word of any program: it is taken out only where it can be nothing else.
        yield _replacer(re.compile(rf"(?<![\w}}]){user}(?=@[\w-])"), "user")
        yield _replacer(re.compile(rf"\bpytest-of-{user}\b"), "pytest-of-user")
        folders = re.compile(rf"(?<![\w./}}>~-])((?:/[\w.@+-]+)*/){user}(?![\w.-])")
        yield lambda text: folders.sub(r"\1user", text)
    # The whole name first, or its end would be left behind.
    for host in dict.fromkeys([person.host, person.host.partition(".")[0]]):
        if re.search(r"[\d.-]", host) and len(host) > _MIN_NAME and host not in _COMMON_NAMES:
            yield _replacer(_whole(host), "host")


def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")


def _replacer(pattern: re.Pattern[str], word: str) -> Step:
    return lambda text: pattern.sub(lambda _: word, text)

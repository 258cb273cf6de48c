"""Prompt file -> tasks."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from pytest_goat.collect.documents import read_documents
from pytest_goat.collect.fields import LIMITS, MACHINE, TASK, Defaults
from pytest_goat.collect.kinds import Home, line_of, near_miss, read_table, slip, want_list, want_table
from pytest_goat.collect.problems import Inexact, Problems, Wrong, key_step, raise_all
from pytest_goat.collect.values import Table
from pytest_goat.task import Limits, Machine, Source, Suite, Task

TASK_FORM = "a task is a mapping with at least `prompt: ...`"
FILE_KEYS = ("defaults", "tasks")
"""The keys of a prompt file that gives defaults to its tasks."""


def read_tasks(path: Path, suite: Suite | None, warn: Callable[[str, int], None]) -> list[Task]:
    """The tasks of a prompt file, in its order.

    `suite` is the one that the file stands in (`Suites.of`). `warn` is told of keys that nobody reads, once
    for each, with the line of the first. Raises `FileErrors` with everything that is wrong with the file.
    """
    home = Home(path, suite.root if suite else path.parent)
    with _no_garbage_collection():
        try:
            reader = _Reader(home, suite, Problems(path, quick=True))
            tasks = reader.tasks()
        except Inexact:
            reader = _Reader(home, suite, Problems(path))
            tasks = reader.tasks()
    for key, lines in reader.unknown.items():
        often = f" (so in {len(lines)} tasks)" if len(lines) > 1 else ""
        meant = f": {mend}" if (mend := slip(key, TASK)) else ""
        warn(f"`{key}` is no key of a task and is kept as metadata{often}{meant}", lines[0])
    reader.problems.check()
    return tasks


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Almost all that is read stays: each collection would walk over it again and find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_limits = lru_cache(typed=True)(Limits)
_machine = lru_cache(typed=True)(Machine)
"""One record for all tasks with the same limits, and on the same machine."""


@dataclass(slots=True)
class _Draft:
    """A task as it was written."""

    given: Any
    """A mapping, if it is right."""
    field: str
    """Where it stands, as `.tasks[3]`."""
    line: int
    shared: Mapping[str, Any]
    """Values for the keys that it does not give itself."""
    number: int | None
    """Its place among the tasks of the file, 1-based; None when the file is this one task."""


@dataclass(slots=True)
class _Reader:
    home: Home
    suite: Suite | None
    problems: Problems
    unknown: dict[str, list[int]] = field(default_factory=dict)
    """Keys that are none of a task's, with the lines where they stand."""

    def tasks(self) -> list[Task]:
        """Those that are right; what is wrong is in `problems`."""
        try:
            drafts = list(self._drafts(read_documents(self.home.path, self.problems)))
        except Wrong as wrong:
            self.problems.add(wrong)
            return []
        tasks = []
        first: dict[str, _Draft] = {}
        for draft in drafts:
            try:
                task = self._task(draft)
                _check_id(task.id, draft, first)
                tasks.append(task)
            except Wrong as wrong:
                self.problems.add(wrong.below(draft.field, draft.line))
        if not drafts and not self.problems.errors:
            self.problems.add(Wrong("holds no task", TASK_FORM))
        return tasks

    def _drafts(self, documents: Sequence[Any]) -> Iterator[_Draft]:
        inherited = self.suite.defaults if self.suite else {}
        many = len(documents) > 1
        numbers = count(1)
        for place, document in enumerate(documents, start=1):
            where, line = f"document {place}" if many else "", line_of(document)
            if isinstance(document, Table) and not any(key in document for key in FILE_KEYS):
                yield _Draft(document, where, line, inherited, next(numbers) if many else None)
                continue
            if isinstance(document, Table):
                items, own = self._file(document, where)
                where += ".tasks"
            else:
                items, own = self._list(document, where), {}
            shared = {**inherited, **own}
            for index, item in enumerate(items):
                yield _Draft(item, f"{where}[{index}]", line_of(item) or line, shared, next(numbers))

    def _list(self, document: Any, where: str) -> list[Any]:
        try:
            return want_list(document, TASK_FORM)
        except Wrong as wrong:
            self.problems.add(wrong.below(where, 0))
            return []

    def _file(self, document: Table, where: str) -> tuple[list[Any], dict[str, Any]]:
        """The tasks and the defaults of `{defaults, tasks}`."""
        items: list[Any] = []
        own: dict[str, Any] = {}
        for key, value in document.items():
            try:
                if key == "defaults":
                    own = Defaults().read(value, self.home)
                elif key == "tasks":
                    items = want_list(value, "write one task after each `- `")
                else:
                    raise Wrong("is no key beside `tasks`", near_miss(key, FILE_KEYS))
            except Wrong as wrong:
                self.problems.add(wrong.below(where + key_step(key), document.lines[key]))
        if "tasks" not in document:
            mend = "write `tasks:` and a list of them"
            self.problems.add(Wrong("has defaults and no tasks", mend, document.line).below(where, 0))
        return items, own

    def _task(self, draft: _Draft) -> Task:
        given = want_table(draft.given, TASK_FORM)
        wrongs = list(_prompt_wrongs(given))
        own: dict[str, Any] = {}
        others: dict[str, Any] = {}
        try:
            own = read_table(given, TASK, self.home, "a task", others)
        except Wrong as wrong:
            wrongs.append(wrong)
        for key in others:
            self.unknown.setdefault(key, []).append(given.lines[key])
        raise_all(wrongs)
        values = {**draft.shared, **own}
        if others:
            values["metadata"] = {**others, **values.get("metadata", {})}
        path = self.home.path
        prompt_file = values.pop("prompt_file", None)
        return Task(
            id=values.pop("id", None) or _default_id(path, draft.number),
            prompt=values.pop("prompt", prompt_file),
            source=Source(path, given.line),
            limits=_limits(**{key: values.pop(key) for key in LIMITS if key in values}),
            machine=_machine(**{key: values.pop(key) for key in MACHINE if key in values}),
            suite=self.suite,
            **values,
        )


def _prompt_wrongs(given: Table) -> Iterator[Wrong]:
    """What is wrong with how a task says its prompt: at most one thing."""
    if "prompt" in given and "prompt_file" in given:
        yield Wrong("has a `prompt` and a `prompt_file`", "keep one of them", given.lines["prompt_file"])
    if "prompt" not in given and "prompt_file" not in given:
        mend, line = "write what the agent shall do: `prompt: ...`", given.line
        for key in given:
            if key not in TASK and slip(key, ["prompt"]):
                mend, line = f"did you mean `prompt` where `{key}` is written?", given.lines[key]
        yield Wrong("has no prompt", mend, line)


def _default_id(path: Path, number: int | None) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem.removesuffix(".goat"))
    stem = stem.strip("._-")[:80]
    if not stem:
        raise Wrong("has no id, and the file's name makes none", "write `id: ...`")
    return stem if number is None else f"{stem}-{number}"


def _check_id(task_id: str, draft: _Draft, first: dict[str, _Draft]) -> None:
    """Raise `Wrong` for an id that an earlier task has; `first` has those that were seen."""
    other = first.setdefault(task_id, draft)
    if other is not draft:
        where = f"{other.field.removeprefix('.')}, line {other.line}"
        wrong = Wrong(f"is {task_id}, as in {where}", "give each task its own id")
        raise wrong.below(".id", draft.given.lines.get("id", draft.line))

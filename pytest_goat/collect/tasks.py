"""Prompt file -> tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pytest_goat.collect.documents import read_documents
from pytest_goat.collect.fields import LIMITS, TASK, Defaults
from pytest_goat.collect.kinds import Home, Spot, near_miss, read_table, slip, want_list, want_table
from pytest_goat.collect.problems import Problems, Wrong
from pytest_goat.collect.values import Table
from pytest_goat.task import Limits, Source, Suite, Task

TASK_FORM = "a task is a mapping with at least `prompt: ...`"
FILE_KEYS = ("defaults", "tasks")
"""The keys of a prompt file that gives defaults to its tasks."""


def read_tasks(path: Path, suite: Suite | None, warn: Callable[[str, int], None]) -> list[Task]:
    """The tasks of a prompt file, in its order.

    `suite` is the one that the file stands in (`Suites.of`). `warn` is told of keys that nobody reads, once
    for each, with the line of the first. Raises `FileErrors` with everything that is wrong with the file.
    """
    home = Home(path, suite.root if suite else path.parent, Problems(path))
    unknown: dict[str, list[int]] = {}
    tasks = []
    try:
        for draft in _drafts(read_documents(path, home.problems), home, suite.defaults if suite else {}):
            try:
                tasks.append((draft, _task(draft, suite, unknown)))
            except Wrong as wrong:
                draft.spot.note(wrong)
    except Wrong as wrong:
        Spot(home, "", 0).note(wrong)
    _check_ids(tasks)
    for key, lines in unknown.items():
        often = f" (so in {len(lines)} tasks)" if len(lines) > 1 else ""
        meant = f": {mend}" if (mend := slip(key, TASK)) else ""
        warn(f"`{key}` is no key of a task and is kept as metadata{often}{meant}", lines[0])
    if not tasks and not home.problems.errors:
        home.problems.add(0, "", "holds no task", TASK_FORM)
    home.problems.check()
    return [task for _, task in tasks]


@dataclass(slots=True)
class _Draft:
    """A task as it was written."""

    given: Table
    spot: Spot
    shared: Mapping[str, Any]
    """Values for the keys that it does not give itself."""
    number: int | None
    """Its place among the tasks of the file, 1-based; None when the file is this one task."""


def _drafts(documents: Sequence[Any], home: Home, shared: Mapping[str, Any]) -> Iterator[_Draft]:
    numbers = count(1)
    for place, document in enumerate(documents, start=1):
        spot = Spot(home, f"document {place}" if len(documents) > 1 else "", 0)
        if isinstance(document, Table) and not any(key in document for key in FILE_KEYS):
            spot.line = document.line
            yield _Draft(document, spot, shared, next(numbers) if len(documents) > 1 else None)
            continue
        try:
            items, spot, own = _parts(document, spot)
        except Wrong as wrong:
            spot.note(wrong)
            continue
        for index, item in enumerate(items):
            here, number = spot.item(index, item), next(numbers)
            try:
                yield _Draft(want_table(item, TASK_FORM), here, {**shared, **own}, number)
            except Wrong as wrong:
                here.note(wrong)


def _parts(document: Any, spot: Spot) -> tuple[list[Any], Spot, dict[str, Any]]:
    """The tasks of a list, or of `{defaults, tasks}`; where they stand; and their defaults."""
    if not isinstance(document, Table):
        return want_list(document, TASK_FORM), spot, {}
    for key in document:
        if key not in FILE_KEYS:
            spot.key(document, key).note(Wrong("is no key beside `tasks`", near_miss(key, FILE_KEYS)))
    if "tasks" not in document:
        raise Wrong("has defaults and no tasks", "write `tasks:` and a list of them", document.line)
    own = {}
    if "defaults" in document:
        here = spot.key(document, "defaults")
        try:
            own = Defaults().read(document["defaults"], here)
        except Wrong as wrong:
            here.note(wrong)
    here = spot.key(document, "tasks")
    try:
        return want_list(document["tasks"], "write one task after each `- `"), here, own
    except Wrong as wrong:
        here.note(wrong)
        return [], here, own


def _task(draft: _Draft, suite: Suite | None, unknown: dict[str, list[int]]) -> Task:
    given, spot = draft.given, draft.spot
    _check_prompt(given, spot)
    others: dict[str, Any] = {}
    try:
        own = read_table(given, TASK, spot, "a task", others)
    finally:
        for key in others:
            unknown.setdefault(key, []).append(given.lines[key])
    values = {**draft.shared, **own}
    if others:
        values["metadata"] = {**others, **values.get("metadata", {})}
    prompt_file = values.pop("prompt_file", None)
    return Task(
        id=values.pop("id", None) or _default_id(spot.home.path, draft.number),
        prompt=values.pop("prompt", prompt_file),
        source=Source(spot.home.path, given.line),
        limits=Limits(**{key: values.pop(key) for key in LIMITS if key in values}),
        suite=suite,
        **values,
    )


def _check_prompt(given: Table, spot: Spot) -> None:
    if "prompt" in given and "prompt_file" in given:
        spot.key(given, "prompt_file").note(Wrong("stands beside a `prompt`", "keep one of them"))
    if "prompt" in given or "prompt_file" in given:
        return
    for key in given:
        if key not in TASK and slip(key, ["prompt"]):
            raise Wrong("has no prompt", f"did you mean `prompt` where `{key}` is written?", given.lines[key])
    raise Wrong("has no prompt", "write what the agent shall do: `prompt: ...`")


def _default_id(path: Path, number: int | None) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem.removesuffix(".goat"))
    stem = stem.strip("._-")[:80]
    if not stem:
        raise Wrong("has no id, and the file's name makes none", "write `id: ...`")
    return stem if number is None else f"{stem}-{number}"


def _check_ids(tasks: Sequence[tuple[_Draft, Task]]) -> None:
    """Note every id that was given before."""
    first: dict[str, _Draft] = {}
    for draft, task in tasks:
        other = first.setdefault(task.id, draft)
        if other is not draft:
            where = (
                f"line {other.spot.line}"
                if not other.spot.field
                else f"{other.spot.field}, line {other.spot.line}"
            )
            draft.spot.key(draft.given, "id").note(
                Wrong(f"is {task.id}, as in {where}", "give each task its own id")
            )

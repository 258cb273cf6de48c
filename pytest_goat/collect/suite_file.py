"""`goat.yaml` -> Suite."""

from __future__ import annotations

from pathlib import Path

from pytest_goat.collect.documents import read_documents
from pytest_goat.collect.fields import SUITE
from pytest_goat.collect.kinds import Home, read_table, want_table
from pytest_goat.collect.problems import Problems, Wrong
from pytest_goat.collect.values import Table
from pytest_goat.task import Suite


def read_suite(path: Path, name: str, above: Suite | None) -> Suite:
    """The suite that a `goat.yaml` describes; an empty one describes a suite too.

    `above` is the enclosing suite: its defaults hold where this one gives none. Raises `FileErrors`.
    """
    problems = Problems(path)
    values = {}
    try:
        documents = read_documents(path, problems) or [Table(1)]
        if len(documents) > 1:
            raise Wrong("holds several documents", "write one mapping, without `---`")
        given = want_table(documents[0], "write `key: value` lines")
        values = read_table(given, SUITE, Home(path, path.parent), "a suite")
    except Wrong as wrong:
        problems.add(wrong)
    problems.check()
    return Suite(
        name=name,
        root=path.parent,
        gate=values.get("gate"),
        defaults={**(above.defaults if above else {}), **values.get("defaults", {})},
        ignore=values.get("ignore", ()),
        description=values.get("description", ""),
    )

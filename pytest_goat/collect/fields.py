"""The keys of prompt files and of `goat.yaml`: the one table from which validation, near misses, the JSON
Schema and the dump are made.
"""

from __future__ import annotations

import re
from typing import Any

from pytest_goat.collect.checks import Checks
from pytest_goat.collect.kinds import (
    Field,
    Fields,
    Home,
    Json,
    Many,
    Number,
    Schema,
    Text,
    Word,
    mapping_schema,
    read_table,
    table,
    want_table,
)
from pytest_goat.collect.paths import Files, HostFolder, HostText, ImageName
from pytest_goat.collect.problems import Wrong
from pytest_goat.task import GateRule, Solution

ID = Word(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    "an id is up to 100 letters, digits, dots, dashes and underscores, and begins with a letter or digit",
)
TAG = Word(
    re.compile(r"(?!(?:and|or|not|skipif|parametrize|usefixtures|filterwarnings)$)[A-Za-z_][A-Za-z0-9_-]*"),
    "a tag is a pytest marker: letters, digits, _ and -, first a letter or _, and no word of pytest's own",
)
GPU = Word(re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(:[1-8])?"), "a GPU is a name of Modal's, as in T4 or A10G:2")
_COUNT = Number(1, whole=True)
_SECONDS = Number(above=True)


SOLUTION = table(
    Field("run", Text(), "Line for `bash -c`, run in the workspace."),
    Field("files", Files(), "Files put into the workspace."),
)


class SolutionKind:
    """What makes the checks pass; text alone means `run`."""

    mend = "write {run: ...}, {files: ...} or both"

    def read(self, value: Any, home: Home) -> Solution:
        if isinstance(value, str):
            return Solution(Text().read(value, home))
        solution = Solution(**read_table(want_table(value, self.mend), SOLUTION, home, "a solution"))
        if not solution.run and not solution.files:
            raise Wrong("does nothing", self.mend)
        return solution

    def schema(self) -> Schema:
        return {"anyOf": [Text().schema(), mapping_schema(SOLUTION) | {"minProperties": 1}]}


OWN = table(
    Field("id", ID, "Name of the task, unique in its file; made from the file's name by default."),
    Field("prompt", Text(), "What the agent is asked to do."),
    Field("prompt_file", HostText(), "File beside this one that holds the prompt."),
    Field("description", Text(empty=True), "A word for people; nobody else reads it."),
)
"""Keys that a task has for itself."""

LIMITS = table(
    Field("max_turns", _COUNT, "Answers of the model (default 30)."),
    Field("timeout", _SECONDS, "Seconds that the agent may take (default 300)."),
    Field("check_timeout", _SECONDS, "Seconds that one check may take (default 60)."),
    Field("memory_mb", _COUNT, "Megabytes of memory of the whole sandbox (default 2048)."),
    Field("processes", _COUNT, "Processes and threads alive at once (default 256)."),
    Field("disk_mb", _COUNT, "Megabytes that it may write (default 1024)."),
)

MACHINE = table(
    Field("image", ImageName(), "Image of a sandbox on Modal, or a file beside this one: ./Dockerfile."),
    Field("setup", Text(), "Line for `bash -c`, run as root when the image is made (Modal alone)."),
    Field("cpu", Number(above=True), "Cores of a sandbox on Modal."),
    Field("gpu", GPU, "GPU of a sandbox on Modal, as in T4 or A10G:2."),
)

SHARED = table(
    Field("tags", Many(TAG, commas=True), "Markers: `pytest -m easy` runs the tasks with the tag `easy`."),
    Field("files", Files(), "The workspace: path -> text, or {from: a file beside this one}."),
    Field("workspace", HostFolder(), "The workspace: a folder beside this file; `files` lie over it."),
    *LIMITS.values(),
    *MACHINE.values(),
    Field("checks", Checks(), "Conditions on the outcome. None: the task passes when the agent completes."),
    Field(
        "threshold",
        Number(0, 1, above=True),
        "Weighted score from which the task passes (default 1: all checks).",
    ),
    Field("solution", SolutionKind(), "What makes the checks pass: a line for `bash -c`, or {run, files}."),
    Field("metadata", Json(mapping=True), "Anything else that results should carry."),
)
"""Keys that `defaults` can give to many tasks."""

TASK: Fields = {**OWN, **SHARED}

GATE = table(
    Field("pass_rate", Number(0, 1), "Share of trials that must pass."),
    Field("max_errors", Number(whole=True), "Infrastructure errors tolerated (default 0)."),
    Field(
        "confidence",
        Number(0, 0.999999, above=True),
        "How sure the verdict must be, such as 0.95; without it the observed rate decides.",
    ),
)


class GateKind:
    """The condition on a suite's pass rate."""

    def read(self, value: Any, home: Home) -> GateRule:
        given = want_table(value, "write {pass_rate: 0.8}")
        return GateRule(**read_table(given, GATE, home, "a gate"))

    def schema(self) -> Schema:
        return mapping_schema(GATE)


class Defaults:
    """Values for the keys in `SHARED`."""

    def read(self, value: Any, home: Home) -> dict[str, Any]:
        given = want_table(value, "write keys of tasks, such as {max_turns: 10}")
        return read_table(given, SHARED, home, "defaults")

    def schema(self) -> Schema:
        return mapping_schema(SHARED)


SUITE = table(
    Field("defaults", Defaults(), "Values for the keys that the tasks below do not give."),
    Field("gate", GateKind(), "The condition on this suite's pass rate."),
    Field(
        "ignore",
        Many(Text()),
        "Globs of files and folders, relative to the suite, that hold no prompt files.",
    ),
    Field("description", Text(empty=True), "A word for people."),
)

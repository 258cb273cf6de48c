"""Suites: which folder is one, and which files it takes for prompt files.

Asked about every file of everybody's tests: what reads prompt files is imported when there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_goat.collect import SUFFIXES

if TYPE_CHECKING:
    from pytest_goat.task import Suite

SUITE_FILE = "goat.yaml"
IGNORED_FOLDERS = ("replay*", "workspace*", "solution*", "_*", ".*")
"""Folders below a suite that hold what belongs to tasks, and no prompt files."""

HEAD_BYTES = 4096
"""How much of a Markdown file is looked at to see whether it is a task."""


class _Folder(NamedTuple):
    suites: tuple[Suite, ...]
    """Those that the folder stands in, the nearest first."""
    ignored: bool


class Suites:
    """The suites of one pytest run; each folder is looked at once."""

    def __init__(self, rootdir: Path) -> None:
        self._rootdir = rootdir
        self._folders: dict[Path, _Folder] = {}

    def of(self, path: Path) -> Suite | None:
        """The suite of the nearest `goat.yaml` at or above the folder of the file `path`.

        Looked for up to the rootdir. Raises `FileErrors` where one of them is wrong.
        """
        suites = self._folder(path.parent).suites
        return suites[0] if suites else None

    def ignores(self, folder: Path) -> bool:
        """Whether a suite above takes nothing below `folder` for prompt files. Raises as `of`."""
        return self._folder(folder).ignored

    def takes(self, path: Path) -> bool:
        """Whether the file `path` stands in a suite that does not ignore it. Raises as `of`."""
        folder = self._folder(path.parent)
        hidden = path.name.startswith((".", "_"))
        return bool(folder.suites) and not (folder.ignored or hidden or _named_by(folder.suites, path))

    def _folder(self, folder: Path) -> _Folder:
        if folder not in self._folders:
            self._folders[folder] = self._look(folder)
        return self._folders[folder]

    def _look(self, folder: Path) -> _Folder:
        top = folder == self._rootdir or folder == folder.parent
        above = _Folder((), False) if top else self._folder(folder.parent)
        ignored = above.ignored or (
            bool(above.suites) and (_matches(folder.name, IGNORED_FOLDERS) or _named_by(above.suites, folder))
        )
        suite = None if ignored else self._suite(folder, above.suites[0] if above.suites else None)
        return _Folder((suite, *above.suites) if suite else above.suites, ignored)

    def _suite(self, folder: Path, above: Suite | None) -> Suite | None:
        path = folder / SUITE_FILE
        if not path.is_file():
            return None
        from pytest_goat.collect.suite_file import read_suite

        name = Path(os.path.relpath(folder, self._rootdir)).as_posix()
        return read_suite(path, name, above)


def is_prompt_file(path: Path, suites: Suites, named: bool = False) -> bool:
    """Whether the file `path` holds tasks; `named`: the command line names it.

    Called for every file that pytest meets: almost all are told by their names alone. Raises `FileErrors`
    where the `goat.yaml` of its suite is wrong.
    """
    name = path.name
    if not name.endswith(SUFFIXES) or name == SUITE_FILE:
        return False
    if named or name.rpartition(".")[0].endswith(".goat"):
        return True
    return suites.takes(path) and (not name.endswith(".md") or _defines_task(path))


def _defines_task(path: Path) -> bool:
    """Whether a Markdown file has front matter with a key of a task: a README beside the tasks has none."""
    from pytest_goat.collect.documents import FENCE
    from pytest_goat.collect.fields import TASK

    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True  # reading it as a task says why
    first, *lines = head.decode("utf-8-sig", "replace").split("\n")
    if first.rstrip() != FENCE:
        return False
    keys = (line.partition(":")[0].rstrip() for line in takewhile(lambda line: line.rstrip() != FENCE, lines))
    return any(key in TASK and key != "description" for key in keys)


def _named_by(suites: Iterable[Suite], path: Path) -> bool:
    """Whether the `ignore` of any of the suites names `path`: by its name, or from the suite's folder on."""
    for suite in suites:
        if suite.ignore:
            relative = path.relative_to(suite.root).as_posix()
            for glob in suite.ignore:
                glob = glob.removeprefix("**/").rstrip("/")
                if fnmatchcase(relative if "/" in glob else path.name, glob):
                    return True
    return False


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)

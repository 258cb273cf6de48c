"""What an agent leaves must not turn a check. Before a `run` check, files of the agent's making that a test
runner or an interpreter would pick up by itself are set aside: removed, or what the task gave is put back.

Anywhere in the workspace:

* `conftest.py`: pytest runs it, and it may deselect tests or rewrite outcomes;
* `pytest.ini`, `.pytest.ini`, `pytest.toml`, `.pytest.toml`, and pytest's sections of `pyproject.toml`,
  `setup.cfg` and `tox.ini`, all else in which stays: pytest takes options from them;
* `sitecustomize.py`, `usercustomize.py`, `*.pth`: Python reads them at every start;
* `.python-version`: it chooses the interpreter;
* `*.pyc`: bytecode can stand for another source;
* `entry_points.txt` of a `*.dist-info` or `*.egg-info`: it names plugins for pytest to load.

Where Python looks for modules (the workspace itself, folders of hidden files, folders that the line names):

* a new module or package with the name of a standard or installed one: it would be imported instead.

Ones that the agent deleted are put back. All else is the work: a Makefile, a package.json, the configuration
of a git repository too. A check that must not rest on it says its own commands. `trust:` of a check names
what its task asks for: files, folders or patterns.
"""

from __future__ import annotations

import posixpath
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.machinery import PathFinder
from pathlib import PurePosixPath

from pytest_goat.checks.sections import differs, exchanged
from pytest_goat.sandbox.base import File, Files, Taken
from pytest_goat.task import RunCheck

CONFIGURING = (
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "sitecustomize.py",
    "usercustomize.py",
    "*.pth",
    ".python-version",
    "*.pyc",
)
"""Names of files that configure by being there."""
ENTRY_POINTS = ("*.dist-info/entry_points.txt", "*.egg-info/entry_points.txt")
SHARED = ("pyproject.toml", "setup.cfg", "tox.ini")
"""Names of files that have a section for pytest among others."""
MODULE_SUFFIXES = (".py", ".pyc", ".so")


@dataclass(frozen=True, slots=True)
class SetAside:
    """What is done to the workspace before a check."""

    files: dict[str, File | None] = field(default_factory=dict)
    """For `Sandbox.put`: what stands there instead, None for nothing."""
    noted: list[str] = field(default_factory=list)
    """What to tell people. Bytecode is left out: any agent that runs Python leaves it, and its loss costs
    nothing.
    """


class Guard:
    """The rules of this module, for one check."""

    def __init__(self, check: RunCheck) -> None:
        self._trust = check.trust
        parents = [parent for path in check.files for parent in PurePosixPath(path).parents]
        self._import_folders = {".", *map(str, parents)}
        self._named = {_relative(word) for word in re.split(r"[^\w./-]+", check.run)} - {""}

    def watches(self, path: str) -> bool:
        """Whether a file at `path` could turn the check by its name, and the task does not ask for it."""
        return (_configures(path) or _is_shared(path) or self._shadows(path)) and not self._is_trusted(path)

    def set_aside(self, original: Files, left: Taken) -> SetAside:
        """Compare what the agent left with what the task gave. `left` has all watched files at least."""
        aside = SetAside()
        links = {refused.rpartition(": ")[0] for refused in left.refused}
        for path in sorted({*original, *left.files, *links}):
            before, after = original.get(path), left.files.get(path)
            if before and after and before.data == after.data:
                continue
            # A link named as a module may be a package.
            if not self.watches(path) and not (path in links and self.watches(f"{path}/__init__.py")):
                continue
            if path not in links and _may_stay(path, before, after):
                continue
            instead = before
            if after and _is_shared(path):
                instead = exchanged(path, before, after)
            aside.files[path] = instead
            if not path.endswith(".pyc"):
                aside.noted.append(f"pytest's section of {path}" if after and _is_shared(path) else path)
        return aside

    def _is_trusted(self, path: str) -> bool:
        return any(
            fnmatchcase(path, trusted) or path.startswith(f"{trusted.rstrip('/')}/")
            for trusted in self._trust
        )

    def _shadows(self, path: str) -> bool:
        """Whether `path` is a module or package with a name already taken, where Python looks for modules."""
        folder, name = posixpath.split(path)
        if not name.endswith(MODULE_SUFFIXES):
            return False
        module = name.partition(".")[0]
        if module == "__init__":
            folder, module = posixpath.split(folder)
        return self._is_import_folder(folder or ".") and is_taken(module)

    def _is_import_folder(self, folder: str) -> bool:
        return folder in self._import_folders or any(
            folder == name or folder.endswith(f"/{name}") for name in self._named
        )


@cache
def is_taken(module: str) -> bool:
    """Whether `module` is in the standard library, or installed for the running interpreter, which is the one
    that local sandboxes have.
    """
    if module in sys.stdlib_module_names or module == "pytest_goat":
        return True
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return module.isidentifier() and PathFinder.find_spec(module, list(folders)) is not None


def _relative(word: str) -> str:
    return "/".join(part for part in word.split("/") if part not in ("", ".", ".."))


def _configures(path: str) -> bool:
    name = posixpath.basename(path)
    return any(fnmatchcase(name, pattern) for pattern in CONFIGURING) or any(
        fnmatchcase(path, pattern) for pattern in ENTRY_POINTS
    )


def _is_shared(path: str) -> bool:
    return posixpath.basename(path) in SHARED


def _may_stay(path: str, before: File | None, after: File | None) -> bool:
    """Whether what the agent did to a watched file is nothing that the guard is about."""
    if _is_shared(path):
        return not differs(path, before, after)
    # A module that the task itself gave such a name is the work.
    return before is not None and not _configures(path)

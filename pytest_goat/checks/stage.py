"""The workspace as one `run` check is to find it: what could turn it set aside, its hidden files put."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from pytest_goat.checks.guard import Guard
from pytest_goat.checks.text import decode
from pytest_goat.sandbox.base import ExecResult, File, Files, Sandbox, Taken
from pytest_goat.task import RunCheck

TIMEOUT = 30.0
"""Seconds for a command of ours."""
# A folder that its owner has closed to itself would be passed over.
LIST = "chmod -R u+rwX . && shopt -s globstar dotglob nullglob && printf '%s\\0' **"
EMPTY = 'shopt -s dotglob nullglob; rm -rf -- "$1"/*'


class Hindered(Exception):
    """The agent left the sandbox so that the check cannot be run: its work fails, and `str(error)` is why."""


class Stage:
    """The workspace of one trial, set anew for one `run` check after the other."""

    def __init__(self, sandbox: Sandbox, original: Files, left: Taken | None) -> None:
        self._sandbox, self._original = sandbox, original
        self._left = left
        """What is known to be there; None: look."""
        self._due: dict[str, File | None] = {}
        """What undoes the last setting."""

    async def set(self, check: RunCheck, hidden: Files) -> list[str]:
        """Undo what was done for the last check, set aside, put `hidden`. Gives what to tell of it.

        Raises `Hindered`, `NoRoom`, or another `SandboxError` when the sandbox is lost.
        """
        guard = Guard(check)
        if self._due:
            await self._sandbox.put(self._due)
        left = await self._look(guard, hidden)
        aside = guard.set_aside(self._original, left)
        changes = {path: file for path, file in aside.files.items() if not _settled(path, hidden)}
        changes.update(hidden)
        if changes:
            await self._sandbox.put(changes)
        self._due, self._left = _undone(changes, left), None
        return aside.noted

    async def bash(self, script: str, *arguments: str) -> ExecResult:
        """Run a script of ours."""
        return await self._sandbox.exec(["bash", "-c", script, "bash", *arguments], timeout=TIMEOUT)

    async def _look(self, guard: Guard, hidden: Files) -> Taken:
        """The workspace; where there is more than can be taken, all of it that matters."""
        left = self._left or await self._sandbox.take()
        if left.refused or left.truncated:
            # A link may lead to the folder of records, which the agent could write and no guard looks at.
            await self.bash(EMPTY, self._sandbox.outdir)
        if not left.truncated:
            return left
        listed = await self.bash(LIST)
        names = [name for name in decode(listed.stdout).split("\0") if name]
        watched = [name for name in names if guard.watches(name) or guard.watches(f"{name}/__init__.py")]
        some = await self._sandbox.take([*watched, *hidden])
        if some.truncated or listed.truncated or not listed.ok:
            raise Hindered("the agent left more files than can be looked through")
        return some


def _settled(path: str, hidden: Files) -> bool:
    """Whether putting the hidden files does all there is to do at `path`."""
    return any(path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in hidden)


def _undone(changed: Iterable[str], left: Taken) -> dict[str, File | None]:
    """What puts the agent's files back where others were put. Its links are not put back."""
    undone: dict[str, File | None] = {}
    for path in changed:
        below = [other for other in left.files if other.startswith(f"{path}/")]
        above = [parent for parent in _parents(path) if parent in left.files]
        undone.update({other: left.files.get(other) for other in below or above or [path]})
    return undone


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path

"""The six tools. What runs them is imported with the first call."""

from __future__ import annotations

from .base import Tool
from .specs import SPECS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..processes import Processes
    from ..signals import Signals
    from .base import Arguments

SEARCH_LIMIT = 60.0
"""Seconds that one Glob or Grep may take: a regular expression can backtrack for ever."""


class Toolbox:
    """What the tools work with. `processes` exists from the first command on."""

    def __init__(self, cwd: str, signals: Signals) -> None:
        self.cwd = cwd
        self._signals = signals
        self._processes: Processes | None = None

    @property
    def processes(self) -> Processes:
        if self._processes is None:
            from ..processes import Processes

            self._processes = Processes()
        return self._processes

    def close(self) -> None:
        """Kill whatever the tools have left running."""
        if self._processes is not None:
            self._processes.close()

    def tools(self) -> list[Tool]:
        """The six tools, in the order of their names."""
        runs = {
            "Bash": self._bash,
            "Edit": self._edit,
            "Glob": self._glob,
            "Grep": self._grep,
            "Read": self._read,
            "Write": self._write,
        }
        return [Tool(name, *SPECS[name], run) for name, run in runs.items()]

    def _bash(self, arguments: Arguments) -> str:
        from .bash import bash

        return bash(self.processes, self.cwd, arguments)

    def _read(self, arguments: Arguments) -> str:
        from .files import read

        return read(self.cwd, arguments)

    def _write(self, arguments: Arguments) -> str:
        from .files import write

        return write(self.cwd, arguments)

    def _edit(self, arguments: Arguments) -> str:
        from .files import edit

        return edit(self.cwd, arguments)

    def _glob(self, arguments: Arguments) -> str:
        from .search import glob

        with self._signals.limit(SEARCH_LIMIT):
            return glob(self.cwd, arguments)

    def _grep(self, arguments: Arguments) -> str:
        from .search import grep

        with self._signals.limit(SEARCH_LIMIT):
            return grep(self.cwd, arguments)

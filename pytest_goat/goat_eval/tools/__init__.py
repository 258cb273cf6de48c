"""The six tools. What runs them is imported with the first call."""

from __future__ import annotations

from .base import Tool
from .specs import SPECS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..processes import Processes
    from ..signals import Signals
    from .base import Arguments

TIME_LIMIT = 60.0
"""Seconds for a call of any tool but Bash: a regular expression can backtrack for ever, a FIFO block."""


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

        return self._limited(read, arguments)

    def _write(self, arguments: Arguments) -> str:
        from .files import write

        return self._limited(write, arguments)

    def _edit(self, arguments: Arguments) -> str:
        from .files import edit

        return self._limited(edit, arguments)

    def _glob(self, arguments: Arguments) -> str:
        from .search import glob

        return self._limited(glob, arguments)

    def _grep(self, arguments: Arguments) -> str:
        from .search import grep

        return self._limited(grep, arguments)

    def _limited(self, run: Callable[[str, Arguments], str], arguments: Arguments) -> str:
        with self._signals.limit(TIME_LIMIT):
            return run(self.cwd, arguments)

"""Open files: every trial that runs has some, and many systems give a process 256 or 1024 until it asks."""

from __future__ import annotations

import contextlib
import resource

from pytest_goat.errors import UserError

SPARE = 256
"""For all that is no trial's own: pytest, logs, results that are written, connections of Modal's SDK."""
LEAST, ENOUGH = 1, 12
"""Of one trial: on Modal its connection; here six of its sandbox, and those of its calls of a model."""


def allow_open_files(trials: int) -> None:
    """Let this process open as many files as so many trials at once may need, as far as the system allows.

    Raises `UserError` where that is too little for any trials.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted, least = SPARE + ENOUGH * trials, SPARE + LEAST * trials
    if most != resource.RLIM_INFINITY:
        if most < least:
            raise UserError(
                f"{trials} trials at once need {least} open files, and this system allows a process {most}.\n"
                f"  Raise that (`ulimit -n {wanted}` as root) or take --goat-parallel {max(1, most - SPARE)}."
            )
        wanted = min(wanted, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has one more bound, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))

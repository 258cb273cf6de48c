"""Runs the Langfuse stack with a volume that shows what others wrote as late as Modal's does.

`python -m tests.support.stack_driver CLOUD`: as `python -m goat_stack`, but only `commit` carries what is
written to the folder CLOUD, and only `reload` shows what is there.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from goat_stack.__main__ import main


class DelayedVolume:
    """`path` is what this container sees, `cloud` what is durable."""

    def __init__(self, path: Path, cloud: Path) -> None:
        self.path, self._cloud = path, cloud
        self._synced: set[Path] = set()

    def commit(self) -> None:
        self._carry(self.path, self._cloud)

    def reload(self) -> None:
        self._carry(self._cloud, self.path)

    def _carry(self, source: Path, target: Path) -> None:
        files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
        for name in files:
            copy_newer(source / name, target / name)
        for name in self._synced - files:
            (target / name).unlink(missing_ok=True)
        self._synced = files if source == self.path else self._synced | files


def copy_newer(source: Path, target: Path) -> None:
    """Copy a file that is not the same there yet, whole or not at all."""
    if target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copy2(source, part)
    part.replace(target)


if __name__ == "__main__":
    sys.exit(main(lambda settings: DelayedVolume(settings.volume, Path(sys.argv[1]))))

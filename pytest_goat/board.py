"""What rate limits hold back in the workers of a run: each tells it in a file, for the one that shows it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pytest_goat.gateway.base import Waiting
from pytest_goat.store.folder import write_whole

_SUFFIX = ".json"


class Board:
    """The files of a run, in a folder that all its workers know. Nothing that goes wrong there matters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tell(self, worker: str, waiting: Sequence[Waiting]) -> None:
        """Say what is held back in a worker now, in place of what it said before."""
        path = self.folder / f"{worker}{_SUFFIX}"
        with suppress(OSError):
            if waiting:
                rows = [dataclasses.asdict(row) for row in waiting]
                write_whole(path, json.dumps(rows).encode(), durable=False)
            else:
                path.unlink(missing_ok=True)

    def waiting(self) -> list[Waiting]:
        """All that is held back, by model."""
        found: dict[str, Waiting] = {}
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):
                for row in (Waiting(**row) for row in json.loads(path.read_bytes())):
                    other = found.get(row.model, Waiting(row.model, 0, row.seconds))
                    seconds = min(other.seconds, row.seconds)
                    found[row.model] = Waiting(row.model, other.calls + row.calls, seconds)
        return list(found.values())

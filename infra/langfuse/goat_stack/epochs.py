"""Who may write on the volume: each boot claims an epoch, and only the newest epoch goes on.

A lease would not do: containers see each other's files late, so two may hold it. An epoch is a folder with a
random part in its name: two stacks never write the same file, however late they see each other, and the one
that is not the newest stops as soon as it sees that.

    epochs/00000007-5f3a9c21/epoch.json      when it began
    epochs/00000007-5f3a9c21/ready.json      there when each store has a whole backup in this epoch
    epochs/00000007-5f3a9c21/<store>/...     backups (`generations`), and `wal/` of Postgres
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

from goat_stack.disk import write_file
from goat_stack.errors import StackError, SupersededError
from goat_stack.volume import Volume

EPOCH = re.compile(r"\d{8}-[0-9a-f]{8}")
KEPT = 3
"""How many ready epochs stay: this one, and those to fall back on."""


class Epoch:
    """The epoch that this stack has claimed on `volume`. Safe to use from several threads."""

    def __init__(self, volume: Volume) -> None:
        """Claim the next epoch; raises StackError when the volume cannot be written."""
        self.volume = volume
        self.lock = threading.RLock()
        volume.reload()
        before = epoch_folders(volume.path)
        number = int(before[0].name[:8]) + 1 if before else 1
        self.folder = volume.path / "epochs" / f"{number:08d}-{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise StackError(f"cannot write the volume at {volume.path}: {error.strerror}") from error
        started = datetime.now(UTC).isoformat(timespec="seconds")
        write_file(self.folder / "epoch.json", json.dumps({"started": started}).encode())
        volume.commit()
        self.check()

    @property
    def name(self) -> str:
        return self.folder.name

    def check(self) -> None:
        """Raise SupersededError when a newer epoch can be seen; called before each write to the volume."""
        with self.lock:
            self.volume.reload()
            newest = epoch_folders(self.volume.path)
            if newest and newest[0].name > self.name:
                raise SupersededError(
                    f"a newer stack, epoch {newest[0].name}, has taken over the volume {self.volume.path}: "
                    f"this one, epoch {self.name}, stops; what it was given since then is not kept. "
                    "Run only one (max_containers=1)"
                )

    def mark_ready(self) -> None:
        """Say that this epoch can be restored from, and drop the epochs that are no longer needed."""
        with self.lock:
            self.check()
            write_file(self.folder / "ready.json", b"{}")
            self.volume.commit()
            for folder in _dispensable(epoch_folders(self.volume.path), self.folder):
                shutil.rmtree(folder, ignore_errors=True)
            self.volume.commit()


def epoch_folders(path: Path) -> list[Path]:
    """All epochs on the volume at `path`, newest first; one whose claim was cut off is none."""
    folders = (path / "epochs").glob("*/epoch.json")
    return sorted((marker.parent for marker in folders if EPOCH.fullmatch(marker.parent.name)), reverse=True)


def ready_epochs(path: Path) -> list[Path]:
    """The epochs that can be restored from, newest first."""
    return [folder for folder in epoch_folders(path) if (folder / "ready.json").exists()]


def _dispensable(folders: list[Path], current: Path) -> list[Path]:
    """Older than the epochs to keep, or ended before they were ready."""
    ready = [folder for folder in folders if (folder / "ready.json").exists()]
    return [folder for folder in folders if folder.name < current.name and folder not in ready[:KEPT]]

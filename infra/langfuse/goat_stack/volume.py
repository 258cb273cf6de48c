"""The volume that outlives the container, as the stack sees it: a folder, `commit` and `reload`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from goat_stack.errors import StackError


class Volume(Protocol):
    """A folder shared by containers that see each other's files only after a commit and a reload."""

    @property
    def path(self) -> Path:
        """Where it is mounted."""

    def commit(self) -> None:
        """Make what was written durable and visible to others; raises StackError."""

    def reload(self) -> None:
        """Show what others have committed; no file of the volume may be open; raises StackError."""


class FolderVolume:
    """A plain folder: what is written is there, for everyone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def commit(self) -> None: ...

    def reload(self) -> None: ...


class ModalVolume:
    """A Modal Volume, mounted at `path` in this container, by its `name`."""

    def __init__(self, path: Path, name: str) -> None:
        import modal

        self.path = path
        self._name = name
        self._volume: Any = modal.Volume.from_name(name)

    def commit(self) -> None:
        self._call("commit")

    def reload(self) -> None:
        self._call("reload")

    def _call(self, method: str) -> None:
        try:
            getattr(self._volume, method)()
        except Exception as error:  # whatever the SDK raises, the volume is not up to date
            raise StackError(f"{method} of the Modal volume {self._name} failed: {error}") from error

"""The shelf: what the host and all containers of a deployed gateway share, as bytes under keys.

| key | content |
|---|---|
| `run/<run>` | `token.RunRecord` |
| `seen/<run>/<attempt>/<n>` | call n of a trial, see `log` |
| `closed/<run>/<attempt>` | there when the trial's token is worth nothing any more |
| `recording/<run>/<name>` | a recording, see `recordings` |
"""

from __future__ import annotations

from typing import Protocol


class Shelf(Protocol):
    """Each method raises `GatewayError` when the shelf cannot be reached within its own deadline."""

    async def get(self, key: str) -> bytes | None:
        """None when nothing lies there."""

    async def put(self, key: str, value: bytes) -> None:
        """Whatever lies there is replaced."""

    async def put_new(self, key: str, value: bytes) -> bool:
        """Put where nothing lies; False, and nothing is changed, where something does."""


class MemoryShelf:
    """A shelf within one process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self._values[key] = value

    async def put_new(self, key: str, value: bytes) -> bool:
        if key in self._values:
            return False
        self._values[key] = value
        return True

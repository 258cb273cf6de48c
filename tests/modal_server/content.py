"""Bytes by their hash: what was uploaded for mounts and volumes, each once, as a file."""

from __future__ import annotations

import hashlib
from pathlib import Path


class Content:
    """Files in `folder`, each named by the SHA-256 of its bytes in lower-case hex."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its hash."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if not path.exists():
            path.write_bytes(data)
        return digest

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def path(self, digest: str) -> Path:
        return self._folder / digest

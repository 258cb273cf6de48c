"""What the stack is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from goat_stack.errors import StackError

PREFIX = "GOAT_LANGFUSE_"
DATABASE = "DATABASE_URL"
REDIS = ("REDIS_CONNECTION_STRING", "REDIS_HOST")
CLICKHOUSE = "CLICKHOUSE_URL"
OBJECTS = "LANGFUSE_S3_EVENT_UPLOAD_BUCKET"
LANGFUSE_SECRETS = ("NEXTAUTH_SECRET", "SALT", "ENCRYPTION_KEY")


@dataclass(frozen=True)
class Settings:
    """Folders, the port of Langfuse, and how often what is kept; times in seconds.

    `given`: the whole environment, out of which Langfuse's own settings are handed to it.
    """

    given: Mapping[str, str] = field(repr=False)
    port: int
    volume: Path
    volume_name: str
    data: Path
    user: str
    web: Path
    worker: Path
    archive_seconds: int
    snapshot_seconds: int
    base_seconds: int
    start_seconds: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises StackError, naming each, when secrets are missing or a number is none."""
        _check_secrets(environ)

        def text(name: str, default: str) -> str:
            return environ.get(PREFIX + name) or default

        def number(name: str, default: int) -> int:
            value = text(name, str(default))
            if not value.isascii() or not value.isdigit() or int(value) < 1:
                raise StackError(f"{PREFIX}{name} must be a whole number above 0, not {value!r}")
            return int(value)

        return cls(
            given=dict(environ),
            port=number("PORT", 3000),
            volume=Path(text("VOLUME", "/vol")),
            volume_name=text("VOLUME_NAME", ""),
            data=Path(text("DATA", "/var/lib/goat-langfuse")),
            user=text("USER", "postgres"),
            web=Path(text("WEB", "/app")),
            worker=Path(text("WORKER", "/opt/langfuse")),
            archive_seconds=number("ARCHIVE_SECONDS", 20),
            snapshot_seconds=number("SNAPSHOT_SECONDS", 20),
            base_seconds=number("BASE_SECONDS", 2 * 3600),
            start_seconds=number("START_SECONDS", 300),
        )

    def has(self, *names: str) -> bool:
        """Whether one of the variables `names` is given: then that store is elsewhere."""
        return any(self.given.get(name) for name in names)


def _check_secrets(environ: Mapping[str, str]) -> None:
    needed = LANGFUSE_SECRETS if environ.get(DATABASE) else (*LANGFUSE_SECRETS, "POSTGRES_PASSWORD")
    if missing := [name for name in needed if not environ.get(name)]:
        raise StackError(
            f"{', '.join(missing)} must be set: `python infra/setup.py` makes the secrets of Langfuse"
        )
    if not re.fullmatch(r"[0-9a-fA-F]{64}", environ["ENCRYPTION_KEY"]):
        raise StackError("ENCRYPTION_KEY must be 64 hex digits: `openssl rand -hex 32` makes one")

"""A ticket."""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

now_utc = partial(datetime.now, timezone.utc)


@dataclass
class Ticket:
    title: str
    opened: datetime = field(default_factory=now_utc)
    closed: datetime | None = None

    def close(self) -> None:
        self.closed = datetime.now(tz=timezone.utc)

    def age(self) -> float:
        """Seconds from the opening to the closing, or until now."""
        end = self.closed or datetime.now(timezone.utc)
        return (end - self.opened).total_seconds()

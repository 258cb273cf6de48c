"""One listener's wish to be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bus.bus import Bus


@dataclass(eq=False)
class Subscription:
    bus: Bus
    event: str
    listener: Callable[..., Any]
    priority: int = 0
    once: bool = False
    active: bool = True

    def cancel(self) -> None:
        self.active = False
        self.bus.remove(self)

"""Who wants to know is told."""

from bus.bus import Bus
from bus.subscription import Subscription

__all__ = ["Bus", "Subscription"]

"""Messages to people."""

from notify.sending import outbox, send

__all__ = ["outbox", "send"]

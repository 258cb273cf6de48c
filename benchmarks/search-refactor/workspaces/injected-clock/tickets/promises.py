"""When somebody has to have answered."""

from datetime import datetime, timedelta, timezone

from tickets.model import Ticket

DAYS = {"high": 1, "normal": 3}


def overdue(ticket: Ticket, level: str = "normal", at: datetime = datetime.now(timezone.utc)) -> bool:
    """Whether the ticket should have been closed by `at`: now, when nothing is given."""
    return ticket.closed is None and at > ticket.opened + timedelta(days=DAYS[level])


def due_today(tickets: list[Ticket], level: str = "normal") -> list[Ticket]:
    today = datetime.utcnow().date()
    return [each for each in tickets if (each.opened + timedelta(days=DAYS[level])).date() == today]

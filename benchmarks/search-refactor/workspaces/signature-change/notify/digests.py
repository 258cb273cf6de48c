"""What happened today."""

from notify import send

BUSY = 100


def digest(to: str, events: list[str]) -> None:
    options = {"urgent": False}
    if len(events) > BUSY:
        options["urgent"] = True
    send(to, f"{len(events)} events", **options)

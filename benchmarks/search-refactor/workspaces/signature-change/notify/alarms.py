"""Something is wrong, now."""

from notify import sending
from notify.sending import send

GUARDS = ["ada", "bo"]


def fire(place: str) -> None:
    for guard in GUARDS:
        send(guard, f"fire in {place}", True)


def drill(place: str) -> None:
    for guard in GUARDS:
        sending.send(guard, f"drill in {place}", False)

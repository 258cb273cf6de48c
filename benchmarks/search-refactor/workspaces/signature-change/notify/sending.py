"""The one way out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    to: str
    text: str
    urgent: bool


outbox: list[Message] = []


def send(to: str, text: str, urgent: bool = False) -> Message:
    """Put a message into the outbox. Urgent ones are marked for the reader, too."""
    message = Message(to, f"! {text}" if urgent else text, urgent)
    outbox.append(message)
    return message

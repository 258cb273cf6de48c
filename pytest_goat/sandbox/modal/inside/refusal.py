"""What cannot be done inside."""

from __future__ import annotations


class Refusal(Exception):
    """`kind` says whose fault it is: "image", "room" (what was put did not fit) or "put"."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

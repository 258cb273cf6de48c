"""What cannot be done inside."""

from __future__ import annotations


class Refusal(Exception):
    """`kind` says what is at fault: the "image", or what is there already where files are "put"."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

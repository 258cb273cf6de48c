"""The errors that end the stack, or a snapshot, with a message for a person."""

from __future__ import annotations


class StackError(Exception):
    """Something that the stack needs is wrong; `str(error)` says what, and what to do."""


class SupersededError(StackError):
    """A newer stack has taken over the volume: this one must write there no more."""

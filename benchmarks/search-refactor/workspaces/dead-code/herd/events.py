"""Things happen."""

from herd import handlers

EVENTS = ("start", "stop")
LOG = []


def fire(event):
    if event in EVENTS:
        getattr(handlers, f"on_{event}")()

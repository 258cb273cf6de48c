"""Many items, few workers."""

from flow.running import run

__all__ = ["run"]

"""One configuration out of several layers."""

from settings.loading import load

__all__ = ["load"]

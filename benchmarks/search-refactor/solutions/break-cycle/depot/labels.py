"""Lines for stickers."""

from depot.model import Level, Order


def label(thing: object) -> str:
    return thing.label() if isinstance(thing, Order | Level) else f"? {thing}"

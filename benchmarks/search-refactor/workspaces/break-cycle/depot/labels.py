"""Lines for stickers."""

from depot.orders import Order


def label(thing: object) -> str:
    import depot.stock

    if isinstance(thing, Order):
        return f"{thing.amount} x {thing.article}" + (" (done)" if thing.done else "")
    if isinstance(thing, depot.stock.Level):
        return f"{thing.article}: {thing.there}/{thing.minimum}"
    return f"? {thing}"

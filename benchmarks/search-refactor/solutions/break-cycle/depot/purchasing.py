"""What has to be bought."""

from depot.model import level_of, open_orders

_requests: dict[str, int] = {}


def buy(article: str) -> None:
    """Ask for what is missing to the minimum, and as much as the open orders have."""
    level = level_of(article)
    ordered = sum(order.amount for order in open_orders(article))
    _requests[article] = level.minimum - level.there + ordered


def requests() -> dict[str, int]:
    return dict(_requests)

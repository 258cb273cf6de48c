"""Orders."""

from depot import stock
from depot.model import OPEN, Order, OutOfStock, open_orders

__all__ = ["Order", "OutOfStock", "close", "open_orders", "place"]


def place(order: Order) -> Order:
    """Take an order in. Raises OutOfStock when the stock does not have it."""
    stock.reserve(order.article, order.amount)
    OPEN.append(order)
    return order


def close(article: str) -> int:
    """Mark all orders of an article as done; they are open no more. Returns how many."""
    closing = open_orders(article)
    for order in closing:
        order.done = True
    OPEN[:] = [order for order in OPEN if order.article != article]
    return len(closing)

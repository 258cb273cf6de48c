"""Orders."""

from dataclasses import dataclass


class OutOfStock(Exception):
    """There is not enough of an article."""


@dataclass
class Order:
    article: str
    amount: int
    done: bool = False

    def label(self) -> str:
        from depot.labels import label

        return label(self)


OPEN: list[Order] = []


def place(order: Order) -> Order:
    """Take an order in. Raises OutOfStock when the stock does not have it."""
    from depot import stock

    stock.reserve(order.article, order.amount)
    OPEN.append(order)
    return order


def open_orders(article: str) -> list[Order]:
    return [order for order in OPEN if order.article == article]


def close(article: str) -> int:
    """Mark all orders of an article as done; they are open no more. Returns how many."""
    global OPEN
    closing = open_orders(article)
    for order in closing:
        order.done = True
    OPEN = [order for order in OPEN if order.article != article]
    return len(closing)

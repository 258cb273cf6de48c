"""Orders and stock levels: records that everything else is about. Imports nothing of the depot."""

from dataclasses import dataclass


class OutOfStock(Exception):
    """There is not enough of an article."""


@dataclass
class Order:
    article: str
    amount: int
    done: bool = False

    def label(self) -> str:
        return f"{self.amount} x {self.article}" + (" (done)" if self.done else "")


@dataclass
class Level:
    article: str
    there: int
    minimum: int

    def label(self) -> str:
        return f"{self.article}: {self.there}/{self.minimum}"


LEVELS = {
    "bell": Level("bell", 10, 4),
    "hay": Level("hay", 100, 40),
    "rope": Level("rope", 3, 0),
}
OPEN: list[Order] = []


def level_of(article: str) -> Level:
    return LEVELS[article]


def open_orders(article: str) -> list[Order]:
    return [order for order in OPEN if order.article == article]

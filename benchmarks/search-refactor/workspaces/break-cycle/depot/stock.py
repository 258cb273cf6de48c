"""What is there."""

from dataclasses import dataclass

from depot import purchasing
from depot.orders import OutOfStock


@dataclass
class Level:
    article: str
    there: int
    minimum: int

    def label(self) -> str:
        from depot import labels

        return labels.label(self)


LEVELS = {
    "bell": Level("bell", 10, 4),
    "hay": Level("hay", 100, 40),
    "rope": Level("rope", 3, 0),
}


def level_of(article: str) -> Level:
    return LEVELS[article]


def reserve(article: str, amount: int) -> None:
    """Take articles out. Raises OutOfStock; asks purchasing when little is left."""
    level = level_of(article)
    if amount > level.there:
        raise OutOfStock(f"{level.there} {article} left")
    level.there -= amount
    if level.there < level.minimum:
        purchasing.buy(article)

"""What is there."""

from depot import purchasing
from depot.model import LEVELS, Level, OutOfStock, level_of

__all__ = ["LEVELS", "Level", "OutOfStock", "level_of", "reserve"]


def reserve(article: str, amount: int) -> None:
    """Take articles out. Raises OutOfStock; asks purchasing when little is left."""
    level = level_of(article)
    if amount > level.there:
        raise OutOfStock(f"{level.there} {article} left")
    level.there -= amount
    if level.there < level.minimum:
        purchasing.buy(article)

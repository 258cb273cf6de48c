"""A cart and its total."""

from shop import pricing
from shop.pricing import get_price as price_of


class Cart:
    def __init__(self) -> None:
        self.articles: dict[str, int] = {}

    def add(self, article: str, amount: int = 1) -> None:
        self.articles[article] = self.articles.get(article, 0) + amount

    def total(self) -> int:
        return sum(price_of(article, amount) for article, amount in self.articles.items())

    def cheapest(self) -> str:
        return min(self.articles, key=pricing.get_price)

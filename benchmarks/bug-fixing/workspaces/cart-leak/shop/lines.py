"""What a cart is made of."""

from dataclasses import dataclass


@dataclass
class Line:
    article: str
    cents: int
    quantity: int = 1

    @property
    def total(self) -> int:
        return self.cents * self.quantity

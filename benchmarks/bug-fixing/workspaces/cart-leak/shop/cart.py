"""A customer's cart."""

from shop.lines import Line
from shop.vouchers import reduced


class Cart:
    vouchers: dict[str, int] = {}
    """Code -> percent."""

    def __init__(self, customer: str, lines: list[Line] = []):
        self.customer = customer
        self.lines = lines

    def add(self, article: str, cents: int, quantity: int = 1) -> None:
        for line in self.lines:
            if line.article == article:
                line.quantity += quantity
                return
        self.lines.append(Line(article, cents, quantity))

    def redeem(self, code: str, percent: int) -> None:
        self.vouchers[code] = percent

    def total(self) -> int:
        return reduced(sum(line.total for line in self.lines), self.vouchers.values())

    def for_later(self) -> "Cart":
        """A copy to keep: what happens to one of the two does not show in the other."""
        kept = Cart(self.customer, self.lines)
        kept.vouchers = self.vouchers
        return kept

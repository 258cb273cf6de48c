"""What things cost, in cents."""

PRICES = {"bell": 1250, "hay": 400, "rope": 899}
REDUCED = {"hay"}


def get_price(article: str, amount: int = 1) -> int:
    """The price of `amount` pieces; see also get_price_list."""
    price = PRICES[article] * amount
    return price * 9 // 10 if article in REDUCED else price


def get_price_list() -> dict[str, int]:
    """The price of one piece of everything. Uses get_price for each."""
    return {article: get_price(article) for article in PRICES}


def forget_price(article: str) -> None:
    """Take an article out of the shop."""
    PRICES.pop(article, None)

"""What can be asked on the command line: a word, and the function in shop.pricing that answers."""

from shop import pricing

COMMANDS = {
    "price": "get_price",
    "list": "get_price_list",
    "forget": "forget_price",
}


def answer(word: str, *args):
    return getattr(pricing, COMMANDS[word])(*args)

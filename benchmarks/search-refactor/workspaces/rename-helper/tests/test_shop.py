import json

from shop import get_price, get_price_list
from shop.cart import Cart
from shop.commands import answer
from shop.remote import serve


def test_prices():
    assert get_price("hay", 2) == 720
    assert get_price_list() == {"bell": 1250, "hay": 360, "rope": 899}


def test_cart():
    cart = Cart()
    cart.add("bell", 2)
    cart.add("rope")
    assert (cart.total(), cart.cheapest()) == (3399, "rope")


def test_commands_and_remote():
    assert answer("price", "bell") == 1250
    assert json.loads(serve('{"call": "get_price", "args": ["rope"]}'))["result"] == 899

from shop.cart import Cart


def test_adding_up():
    cart = Cart("ada", [])
    cart.add("pen", 120, 2)
    cart.add("pen", 120)
    cart.add("ink", 900)
    assert [(line.article, line.quantity) for line in cart.lines] == [("pen", 3), ("ink", 1)]
    assert cart.total() == 1260


def test_largest_voucher_counts():
    cart = Cart("ada", [])
    cart.add("ink", 999)
    cart.redeem("SPRING", 10)
    cart.redeem("STAFF", 15)
    assert cart.total() == 849

import pytest

from depot import Order, OutOfStock, close, label, level_of, open_orders, place


def test_place_and_close():
    order = place(Order("hay", 5))
    assert level_of("hay").there == 95
    assert open_orders("hay") == [order]
    assert close("hay") == 1
    assert order.done
    assert open_orders("hay") == []


def test_out_of_stock():
    with pytest.raises(OutOfStock):
        place(Order("rope", 4))


def test_labels():
    assert label(Order("bell", 2)) == Order("bell", 2).label() == "2 x bell"
    assert level_of("rope").label() == "rope: 3/0"
    assert label("goat") == "? goat"

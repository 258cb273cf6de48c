"""A depot."""

from depot.labels import label
from depot.orders import Order, OutOfStock, close, open_orders, place
from depot.purchasing import requests
from depot.stock import Level, level_of

__all__ = ["Level", "Order", "OutOfStock", "close", "label", "level_of", "open_orders", "place", "requests"]

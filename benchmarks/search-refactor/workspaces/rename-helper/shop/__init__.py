"""A small shop."""

from shop.pricing import get_price, get_price_list

__all__ = ["get_price", "get_price_list"]

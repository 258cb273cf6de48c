"""What vouchers take off a price."""

from collections.abc import Iterable


def reduced(cents: int, percents: Iterable[int]) -> int:
    """The largest voucher counts; the rest is rounded down to whole cents."""
    return cents * (100 - max(percents, default=0)) // 100

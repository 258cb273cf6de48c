from datetime import date

from lending.fees import bill, fee, lost
from lending.opening import is_open


def test_open_and_closed():
    assert is_open(date(2031, 3, 3))
    assert not is_open(date(2031, 3, 2))
    assert not is_open(date(2031, 12, 25))


def test_on_time():
    assert fee(date(2031, 3, 5), date(2031, 3, 1)) == 0
    assert fee(date(2031, 3, 5), date(2031, 3, 5)) == 0


def test_a_bill_of_nothing():
    assert bill([]) == 0


def test_lost():
    assert not lost(date(2031, 1, 1), date(2031, 3, 2))
    assert lost(date(2031, 1, 1), date(2031, 3, 3))

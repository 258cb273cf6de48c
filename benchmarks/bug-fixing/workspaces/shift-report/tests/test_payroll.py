from datetime import date

import pytest

from payroll.days import minutes
from payroll.texts import report


def test_one_day():
    lines = ["ada,harbour,2031-03-04T08:00:00+02:00,2031-03-04T16:30:00+02:00"]
    assert minutes(lines) == {("ada", date(2031, 3, 4)): 510}
    assert report(lines) == "2031-03-04 ada 8:30"


def test_over_midnight():
    lines = ["bo,mill,2031-03-04T22:00:00-03:30,2031-03-05T06:00:00-03:30"]
    assert minutes(lines) == {("bo", date(2031, 3, 4)): 120, ("bo", date(2031, 3, 5)): 360}


def test_end_before_start():
    with pytest.raises(ValueError, match="cy,depot"):
        minutes(["cy,depot,2031-03-04T08:00:00Z,2031-03-04T07:00:00Z"])

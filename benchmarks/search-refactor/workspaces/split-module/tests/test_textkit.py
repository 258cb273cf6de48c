from datetime import date

import report
import textkit


def test_words():
    assert textkit.slug("The Goat's 2nd Bell!") == "the-goat-s-2nd-bell"
    assert textkit.title("the goat and the bell") == "the Goat and the Bell"


def test_days():
    assert textkit.show_day(date(2031, 3, 4)) == "4 Mar 2031"
    assert textkit.days_between("4 Mar 2031", "1 Mar 2031") == 3


def test_tables():
    rows = [["bell", date(2031, 3, 4)], ["a long rope", 12]]
    assert textkit.table(rows) == "bell         4 Mar 2031\na long rope  12"
    assert report.narrow(rows, 12) == "bell..." + "\n" + "a long ro..."

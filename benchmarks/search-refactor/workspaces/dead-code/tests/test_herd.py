from herd.commands import COMMANDS, show_help
from herd.goats import is_known, list_goats
from herd.reports import report
from herd.texts import capital, plural


def test_list():
    assert list_goats() == "Heidi, Gus, Olga"
    assert COMMANDS["age"]("olga") == "1 year"


def test_words():
    assert capital("gUS") == "Gus"
    assert plural(2, "goat") == "2 goats"


def test_known():
    assert is_known("Gus")
    assert not is_known("Bob")


def test_report():
    assert report("long").count("\n") == 4
    assert "report" in show_help()

"""The goats."""

from herd.commands import command
from herd.texts import capital, plural


def _goats():
    return {"Gus": 4, "Heidi": 9, "Olga": 1}


def by_age(goat):
    return -_goats()[goat]


@command("list")
def list_goats():
    return ", ".join(sorted(_goats(), key=by_age))


@command("age")
def age(name, show=plural):
    return show(_goats()[capital(name)], "year")


def oldest():
    return list_goats().split(", ")[0]


def is_known(name):
    return name in _goats() or _is_nickname(name)


def _is_nickname(name):
    return name.endswith("i") and not is_known(name[:-1])

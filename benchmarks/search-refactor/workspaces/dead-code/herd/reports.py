"""Reports."""

from herd import goats, texts
from herd.commands import command

FORMS = {"short": "as_line", "long": "as_table"}


@command("report")
def report(form="short"):
    return globals()[FORMS[form]]()


def as_line():
    return goats.list_goats()


def as_table():
    return "\n".join([texts.line(), *goats.list_goats().split(", "), texts.line()])


def as_page():
    return texts.centre(as_table(), 40)


def legacy_report():
    """See docs/reports.md."""
    return goats.oldest() + "\n" + _footer()


def _footer():
    return texts.line(10, "=")

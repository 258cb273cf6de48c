"""Uses textkit in the ways in which others do."""

import textkit
from textkit import days_between, table


def narrow(rows, columns):
    before = textkit.width()
    textkit.set_width(columns)
    try:
        return table(rows)
    finally:
        textkit.set_width(before)


def summary(first, last):
    return f"{days_between(first, last)} days, {textkit.format_as('slug', f'{first} to {last}')}"

"""Text for people: words, days and tables."""

from textkit.days import days_between, parse_day, show_day
from textkit.formats import FORMATS, format_as
from textkit.settings import set_width, width
from textkit.tables import table
from textkit.words import shorten, slug, title

__all__ = [
    "FORMATS",
    "days_between",
    "format_as",
    "parse_day",
    "set_width",
    "shorten",
    "show_day",
    "slug",
    "table",
    "title",
    "width",
]

"""Words."""

import re

from textkit.formats import _formatter
from textkit.settings import width


@_formatter("slug")
def slug(text: str) -> str:
    """`text` for an address: small letters and digits, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


@_formatter("title")
def title(text: str) -> str:
    """`text` with a capital at the start of each long word."""
    return " ".join(word.capitalize() if len(word) > 3 else word for word in text.split())


@_formatter("short")
def shorten(text: str) -> str:
    """`text` cut at the width of a line, with an ellipsis where something is missing."""
    return text if len(text) <= width() else text[: width() - 3].rstrip() + "..."

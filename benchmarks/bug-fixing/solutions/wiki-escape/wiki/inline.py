"""Pieces inside a block."""

import re
from html import escape

from wiki.targets import allowed

PIECE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\*(?P<strong>[^*\n]+)\*"
    r"|(?P<image>!?)\[(?P<label>[^]\n]+)\]\((?P<target>[^)\n]+)\)"
)


def inline(text: str) -> str:
    parts, end = [], 0
    for piece in PIECE.finditer(text):
        parts += [escape(text[end : piece.start()]), _html(piece)]
        end = piece.end()
    return "".join(parts) + escape(text[end:])


def _html(piece: re.Match) -> str:
    if piece["code"]:
        return f"<code>{escape(piece['code'])}</code>"
    if piece["strong"]:
        return f"<strong>{escape(piece['strong'])}</strong>"
    label, target = escape(piece["label"]), escape(piece["target"])
    if piece["image"] and allowed(piece["target"], {"http", "https"}):
        return f'<img src="{target}" alt="{label}">'
    if not piece["image"] and allowed(piece["target"], {"http", "https", "mailto"}):
        return f'<a href="{target}">{label}</a>'
    return escape(piece[0])

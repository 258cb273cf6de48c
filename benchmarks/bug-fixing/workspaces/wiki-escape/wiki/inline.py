"""Pieces inside a block."""

import html
import re

from wiki.targets import allowed


def inline(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`\n]+)`", lambda piece: f"<code>{html.escape(piece[1])}</code>", text)
    text = re.sub(r"\*([^*\n]+)\*", r"<strong>\1</strong>", text)
    text = re.sub(r"!\[([^]\n]+)\]\(([^)\n]+)\)", _image, text)
    return re.sub(r"\[([^]\n]+)\]\(([^)\n]+)\)", _link, text)


def _image(piece: re.Match) -> str:
    if not allowed(piece[2]):
        return piece[0]
    return f'<img src="{piece[2]}" alt="{piece[1]}">'


def _link(piece: re.Match) -> str:
    if not allowed(piece[2]):
        return piece[0]
    return f'<a href="{piece[2]}">{piece[1]}</a>'

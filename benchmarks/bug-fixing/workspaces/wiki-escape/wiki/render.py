"""Blocks."""

import re

from wiki.inline import inline


def render(text: str) -> str:
    blocks = re.split(r"\n[ \t]*\n", text.strip("\n"))
    return "\n".join(_block(block.strip("\n")) for block in blocks if block.strip())


def _block(text: str) -> str:
    heading = re.fullmatch(r"(={1,3}) (.+)", text)
    if heading:
        level = len(heading[1])
        return f"<h{level}>{heading[2]}</h{level}>"
    if text.startswith("{{{\n") and text.endswith("\n}}}"):
        return f"<pre>{inline(text[4:-4])}</pre>"
    lines = text.split("\n")
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{inline(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{inline(text)}</p>"

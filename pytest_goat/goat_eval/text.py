"""Text that is safe to send: valid UTF-8, and of a bounded size."""

from __future__ import annotations


def utf8(text: str) -> str:
    """`text` with U+FFFD for what UTF-8 cannot carry: lone surrogates, undecodable bytes of argv."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shorten(data: bytes, limit: int, hint: str = "") -> str:
    """`data` as text of at most `limit` bytes and a note: its head and its tail, cut between characters.

    The tail stays because what failed stands at the end of most outputs.
    """
    if len(data) <= limit:
        return data.decode("utf-8", "replace")
    return join_ends(data[: limit * 2 // 3], data[-(limit - limit * 2 // 3) :], len(data), hint)


def join_ends(head: bytes, tail: bytes, total: int, hint: str = "") -> str:
    """What `shorten` gives, from the two ends of `total` bytes."""
    head = head[: _boundary(head, len(head))]
    start = 0
    while start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:
        start += 1
    tail = tail[start:]
    cut = total - len(head) - len(tail)
    note = f"\n... [{cut} of {total} bytes cut{'; ' + hint if hint else ''}] ...\n"
    return head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")


def _boundary(data: bytes, end: int) -> int:
    """The last place at or before `end` that splits no UTF-8 sequence of `data`."""
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end if length <= back else end - back
    return end

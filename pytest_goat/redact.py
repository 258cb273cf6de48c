"""Secrets are taken out by value, before anything is stored or shown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
MIN_LENGTH = 6
"""A shorter value stands in ordinary text by chance: replacing it would spoil records and hide nothing."""
MAX_DEPTH = 100
"""Values nested deeper are withheld whole: no honest record is so deep, and a recursion must end."""


class Redactor:
    """Replaces secret values, in every form that they commonly travel in, by `[redacted]`.

    The forms: as it is, as a JSON string, URL-quoted, and base64 (standard and URL-safe, also inside a longer
    encoded text such as a Basic credential).
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= MIN_LENGTH for form in _forms(secret)}
        # Longest first, or a short form would leave the rest of a longer one behind.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [form.encode("utf-8", "surrogatepass") for form in self._forms]

    def finds(self, text: str) -> bool:
        """Whether `text` has a secret in it."""
        return any(form in text for form in self._forms)

    def text(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MARK)
        return text

    def data(self, data: bytes) -> bytes:
        for form in self._bytes:
            data = data.replace(form, MARK.encode())
        return data

    def value(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """A JSON value, with the secrets in its strings and keys replaced."""
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if depth == 0:
            return MARK
        if isinstance(value, dict):
            return {self.value(key, 1): self.value(item, depth - 1) for key, item in value.items()}
        return [self.value(item, depth - 1) for item in value]


def _forms(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    lower = {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in quoted}
    as_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret} | quoted | lower | as_json | _base64_forms(raw)


def _base64_forms(raw: bytes) -> set[str]:
    """What of `raw` shows in any base64 text that has it inside: three alignments, without the characters at
    both ends, whose bits are shared with the neighbours.
    """
    forms = set()
    for offset in range(3):
        start = -(-offset * 8 // 6)
        end = (offset + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(b"\0" * offset + raw)[start:end].decode())
    return forms

"""The layer that the environment gives."""

import json
from collections.abc import Mapping

PREFIX = "APP__"


def layer_of(environ: Mapping[str, str]) -> dict:
    layer: dict = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or not text:
            continue
        *path, last = name.removeprefix(PREFIX).lower().split("__")
        place = layer
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value_of(text)
    return layer


def value_of(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text

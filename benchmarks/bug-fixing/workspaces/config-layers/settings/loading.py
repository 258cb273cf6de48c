"""Put the layers together."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from settings.defaults import DEFAULTS
from settings.environment import layer_of
from settings.merging import merge


def load(files: Iterable[str | Path] = (), environ: Mapping[str, str] = {}) -> dict:
    """The defaults, then each JSON file, then the environment."""
    config = DEFAULTS
    for file in files:
        config = merge(config, json.loads(Path(file).read_text()))
    return merge(config, layer_of(environ))

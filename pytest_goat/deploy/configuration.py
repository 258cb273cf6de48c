"""What is deployed, as one hash: how the plugin tells whether the apps on Modal are those of this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_goat.errors import UserError

TAG = "goat-config"
"""Tag of a deployed app whose value is the hash of its configuration."""

HASH_VARIABLE = "GOAT_CONFIG_HASH"
"""In the environment of the gateway's container, which tells it by `/health`."""

MODELS_VARIABLE = "GOAT_MODELS"

GATEWAY_PARTS = (
    "errors",
    "redact",
    "run_id",
    "shared",
    "settings",
    "environ",
    "collect",
    "models",
    "task",
    "cloud",
    "gateway",
)
"""Parts of the package that the gateway's container loads."""

GATEWAY_FILES = ("services.py", "models.yaml", "litellm.yaml")
"""Files of `infra/` that decide what the gateway does."""

_PACKAGE = Path(__file__).parents[1]
_LENGTH = 16


def services_hash(own_models: Path | None) -> str:
    """Hash of all that decides what the deployed gateway does; `own_models` is the file of the user's rows.

    Raises `UserError` when a file cannot be read.
    """
    from pytest_goat.models import infra_folder

    content = {name: _read(infra_folder() / name) for name in GATEWAY_FILES}
    content |= {path.relative_to(_PACKAGE).as_posix(): _read(path) for path in _gateway_sources()}
    if own_models is not None:
        content["own models"] = _read(own_models)
    return digest(content)


def own_models(environ: Mapping[str, str]) -> Path | None:
    """The file of the user's own rows that `GOAT_MODELS` names; None without."""
    named = environ.get(MODELS_VARIABLE, "")
    return Path(named) if named else None


def digest(content: Mapping[str, Any]) -> str:
    """A short hash of a JSON object, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def _gateway_sources() -> Iterator[Path]:
    for part in GATEWAY_PARTS:
        folder = _PACKAGE / part
        yield from folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None

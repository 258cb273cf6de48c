"""The table of models, `infra/models.yaml`: the only place that says how a model is reached, what it costs,
and how vLLM serves it. LiteLLM's configuration, vLLM's deployment and the documentation are made from it.
"""

from __future__ import annotations

from pathlib import Path

from pytest_goat.errors import UserError
from pytest_goat.models.fit import Fit, fits
from pytest_goat.models.reader import models_schema, read_rows
from pytest_goat.models.table import Model, Models, Price, Serving
from pytest_goat.models.text import fit_table_markdown, models_table_markdown, models_text

__all__ = [
    "Fit",
    "Model",
    "Models",
    "Price",
    "Serving",
    "fit_table_markdown",
    "fits",
    "infra_folder",
    "load_models",
    "models_schema",
    "models_table_markdown",
    "models_text",
]


def load_models(extra: Path | None = None) -> Models:
    """The table, with the rows of the user's own file `extra` added and changed.

    Raises `UserError` that lists what is wrong with a file: line, key and mend of each problem.
    """
    rows = read_rows(infra_folder() / "models.yaml", {})
    return Models(read_rows(extra, rows) if extra else rows)


def infra_folder() -> Path:
    """The folder `infra`: inside the package where that was installed, beside it in a checkout.

    Raises `UserError` when there is none.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "infra", package.parent / "infra"):
        if (folder / "models.yaml").is_file():
            return folder
    raise UserError(
        "The folder `infra` is missing from this installation: pip install --force-reinstall pytest-goat"
    )

"""The tables in `infra/README.md` are those that the table of models makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_goat.models import fit_table_markdown, load_models, models_table_markdown

README = Path(__file__).parents[2] / "infra" / "README.md"


@pytest.mark.parametrize(
    ("name", "make"), [("models", models_table_markdown), ("fit", fit_table_markdown)], ids=["models", "fit"]
)
def test_the_tables_are_up_to_date(name: str, make: object) -> None:
    assert callable(make)
    found = re.search(f"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", README.read_text(), re.DOTALL)
    assert found is not None
    wanted = make(load_models()).strip()
    assert found[1].strip() == wanted, f"write this between the marks:\n{wanted}"

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pytest_goat.deploy.configuration import GATEWAY_PARTS, own_models, services_hash
from tests.support.modal import ROOT
from tests.test_architecture import imports

INFRA = ROOT / "infra"
KNOWN = {"cloud", "deploy", "environ", "errors", "models"}
"""Parts of the package that files of `infra/` may import: names, the table of models, what is deployed."""


@pytest.mark.parametrize("path", sorted(INFRA.glob("*.py")), ids=lambda path: path.name)
def test_files_of_infra_import_names_and_the_table_alone(path: Path) -> None:
    named = [name.split(".") for name in imports(path)]
    assert {name[1] for name in named if name[0] == "pytest_goat"} <= KNOWN


def test_litellm_is_pinned_alike_for_the_local_and_the_deployed_gateway() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = project["optional-dependencies"]["gateway"]
    assert f'"{pinned}"' in (INFRA / "services.py").read_text()


def test_the_hash_covers_all_that_the_gateway_loads() -> None:
    package = ROOT / "pytest_goat"
    loaded, new = set(), {package / "gateway" / "serve.py"}
    while new:
        loaded |= new
        new = {file for path in new for file in _files(package, imports(path))} - loaded
    parts = {path.relative_to(package).parts[0].removesuffix(".py") for path in loaded}
    assert parts - {"__init__"} <= set(GATEWAY_PARTS)


def _files(package: Path, names: object) -> set[Path]:
    """The modules of the package that are meant by dotted names."""
    found = set()
    for name in names:  # type: ignore[attr-defined]
        place = package.parent.joinpath(*name.split("."))
        found |= {path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()}
    return {path for path in found if package in path.parents}


def test_the_hash_knows_the_rows_of_the_user(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("one")
    first = services_hash(own)
    assert services_hash(None) not in ("", first)
    assert services_hash(own) == first
    own.write_text("two")
    assert services_hash(own) != first


@pytest.mark.parametrize(("said", "path"), [("", None), ("mine.yaml", Path("mine.yaml"))])
def test_own_rows_are_named_by_the_environment(said: str, path: Path | None) -> None:
    assert own_models({"GOAT_MODELS": said}) == path

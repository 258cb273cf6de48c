"""The shape of the package: one-way imports, and sizes that a reader can hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pytest_goat"

LAYERS = (
    ("errors", "redact", "run_id", "shared"),
    ("settings", "environ", "open_files"),
    ("cloud",),
    ("task",),
    ("collect",),
    ("models",),
    ("deploy",),
    ("sandbox",),
    ("workspace", "changes"),
    ("gateway",),
    ("agent",),
    ("checks",),
    ("result",),
    ("traces",),
    ("verdict",),
    ("trial",),
    ("store",),
    ("stats", "estimate"),
    ("gate",),
    ("report",),
    ("scheduler",),
    ("tracing", "rig", "record", "recorder", "board"),
    ("single", "doctor"),
    ("keys",),
    ("item",),
    ("live", "stopping", "spending"),
    ("reporting",),
    ("fixture", "workers"),
    ("session",),
    ("plugin",),
    ("cli",),
)
"""From first to last: a part imports only what stands before it, or its own modules."""

PYTEST_PARTS = {
    "keys", "plugin", "item", "live", "session", "spending", "stopping", "reporting", "fixture", "workers",
    "cli",
}  # fmt: skip
"""The only ones that know pytest."""

LIGHT = {"", "errors", "settings", "keys", "plugin"}
"""Loaded in every pytest run of everyone who installs the package."""

HEAVY = {"aiohttp", "asyncio", "httpx", "jsonschema", "modal", "yaml"}

MAX_MODULE = 400
MAX_FUNCTION = 60


def modules() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The layer that a module belongs to; "" for the package's own `__init__`."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names that a module imports; `top_level` leaves out those inside functions and for typing."""
    for node in _nodes(ast.parse(path.read_text()), top_level):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST, top_level: bool) -> Iterator[ast.AST]:
    """What runs: what stands there for typing alone makes no edge."""
    for node in ast.iter_child_nodes(tree):
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _nodes(node, top_level)


def parts_imported(path: Path, *, top_level: bool = False) -> set[str]:
    names = (name.split(".") for name in imports(path, top_level=top_level))
    return {name[1] for name in names if name[0] == "pytest_goat" and len(name) > 1} - {"__version__"}


def test_imports_go_one_way() -> None:
    rank = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong = []
    for path in modules():
        part = part_of(path)
        if part in ("", "goat_eval"):
            continue
        assert part in rank, f"{part} has no place in LAYERS"
        for other in parts_imported(path) - {part}:
            if rank.get(other, 99) >= rank[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert wrong == []


def test_the_plugin_reaches_the_rest_only_inside_functions() -> None:
    assert parts_imported(PACKAGE / "plugin.py", top_level=True) <= {"collect", "errors", "keys", "settings"}


def test_backends_do_not_import_each_other() -> None:
    for backend in (PACKAGE / "sandbox").iterdir():
        if not backend.is_dir() or backend.name == "__pycache__":
            continue
        for path in backend.rglob("*.py"):
            for name in imports(path):
                if name.startswith("pytest_goat.sandbox."):
                    assert name.split(".")[2] in ("base", backend.name), f"{path.name} imports {name}"


def test_the_agent_is_self_contained() -> None:
    for path in (PACKAGE / "goat_eval").rglob("*.py"):
        assert not parts_imported(path), path.name


def test_only_the_last_parts_know_pytest() -> None:
    for path in modules():
        if part_of(path) not in PYTEST_PARTS:
            assert not {"pytest", "_pytest"} & {name.split(".")[0] for name in imports(path)}, path.name


def test_what_every_run_loads_is_light() -> None:
    for path in modules():
        if part_of(path) in LIGHT and path.parent == PACKAGE:
            loaded = {name.split(".")[0] for name in imports(path, top_level=True)}
            assert not loaded & HEAVY, path.name


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_MODULE
    long = {
        node.name: size
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (size := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    }
    assert long == {}

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import depot

HOMES = {
    "orders": ["OutOfStock", "Order", "place", "open_orders", "close"],
    "stock": ["OutOfStock", "Level", "LEVELS", "level_of", "reserve"],
    "purchasing": ["open_orders", "buy", "requests"],
    "labels": ["Order", "label"],
}


def module_of(path):
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(Path("depot").rglob("*.py"))}


def imported(module, path):
    """Modules of the package that `module` imports, wherever the import stands."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            # `import depot.stock` is taken for that module alone, though it binds `depot` as well.
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                if f"{base}.{alias.name}" in MODULES:
                    yield f"{base}.{alias.name}"
                elif base in MODULES:
                    yield base


def test_no_circles():
    edges = {module: set(imported(module, path)) for module, path in MODULES.items()}
    while leaves := [module for module, needs in edges.items() if not needs & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert edges == {}, "these import one another in a circle, or import such a circle"


def test_no_way_around():
    for path in MODULES.values():
        tree = ast.parse(path.read_text())
        words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words |= {
            word
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            for word in (alias.name, getattr(node, "module", None) or "")
        }
        assert not words & {"importlib", "__import__", "import_module"}, path
        if path.name != "__init__.py":
            assert "modules" not in words, path


@pytest.mark.parametrize("home", HOMES)
def test_public_names_stay_and_are_the_same(home):
    module = import_module(f"depot.{home}")
    for name in HOMES[home]:
        for other in HOMES:
            if name in HOMES[other]:
                assert getattr(module, name) is getattr(import_module(f"depot.{other}"), name)
        if name in depot.__all__:
            assert getattr(module, name) is getattr(depot, name)


def test_names_of_the_package():
    expected = ["Level", "Order", "OutOfStock", "close", "label", "level_of", "open_orders", "place", "requests"]
    assert sorted(depot.__all__) == expected
    assert all(hasattr(depot, name) for name in expected)


def test_each_module_can_be_the_first():
    lines = ["import sys", "from importlib import import_module", f"for first in {sorted(MODULES)}:"]
    lines += ["    import_module(first)", "    for name in [name for name in sys.modules if name.startswith('depot')]:"]
    lines += ["        del sys.modules[name]"]
    env = os.environ | {"PYTHONPATH": "."}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_buying():
    for each in depot.open_orders("bell"):
        depot.close(each.article)
    level = depot.level_of("bell")
    level.there = 10
    depot.place(depot.Order("bell", 5))
    assert "bell" not in depot.requests()
    depot.place(depot.Order("bell", 3))  # 2 are left; 2 are missing, and 5 are in the open order
    assert depot.requests()["bell"] == 7
    assert depot.close("bell") == 2
    depot.place(depot.Order("bell", 1))
    assert depot.requests()["bell"] == 3


def test_closed_orders_are_closed_for_everyone():
    depot.place(depot.Order("hay", 1))
    other = depot.place(depot.Order("rope", 1))
    assert depot.close("hay") == 1
    purchasing, orders = import_module("depot.purchasing"), import_module("depot.orders")
    assert depot.open_orders("hay") == purchasing.open_orders("hay") == orders.open_orders("hay") == []
    assert other in purchasing.open_orders("rope")
    assert depot.close("hay") == 0


def test_refused_orders_are_not_open():
    before = depot.open_orders("rope"), depot.level_of("rope").there
    with pytest.raises(depot.OutOfStock):
        depot.place(depot.Order("rope", 99))
    assert (depot.open_orders("rope"), depot.level_of("rope").there) == before


def test_labels():
    order, level = depot.Order("bell", 2), depot.Level("cap", 1, 5)
    assert depot.label(order) == order.label() == "2 x bell"
    order.done = True
    assert depot.label(order) == order.label() == "2 x bell (done)"
    assert depot.label(level) == level.label() == "cap: 1/5"
    assert depot.label(7) == "? 7"
    assert depot.label(None) == "? None"


def test_labels_of_other_things_that_have_one():
    class Sticker:
        def label(self):
            return "mine"

        def __str__(self):
            return "a sticker"

    assert depot.label(Sticker()) == "? a sticker"


def test_orders_are_still_plain_records():
    assert depot.Order("bell", 2) == depot.Order("bell", 2)
    assert repr(depot.Order("bell", 2)).endswith("Order(article='bell', amount=2, done=False)")
    assert repr(depot.Level("cap", 1, 5)).endswith("Level(article='cap', there=1, minimum=5)")

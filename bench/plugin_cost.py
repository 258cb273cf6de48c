"""What having the plugin installed costs a pytest run that has no goat items.

One trivial test, with the plugin and with `-p no:goat`. Left out on both sides: anyio's plugin, which is not
ours, and hypothesis' one, which imports at the end of a session what would hide our own imports.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.base import Budget, Options, Row
from bench.processes import pytest_command, run
from bench.timing import interleaved, median_difference

ALONE, WITH = "pytest alone", "with the plugin"
ARGUMENTS = {ALONE: ["-p", "no:goat"], WITH: []}
COMMON = ["-q", "-p", "no:anyio", "-p", "no:hypothesispytest"]
HEAVY = ("aiohttp", "asyncio", "httpx", "modal", "yaml")
MODULES_AFTER = """\
import json, sys, pytest
code = pytest.main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(sorted(sys.modules), file)
sys.exit(code)
"""


def measure(options: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "tests")
        folder.mkdir()
        (folder / "test_trivial.py").write_text("def test_nothing():\n    pass\n")
        yield _time(folder, 10 if options.quick else 60)
        modules = {kind: _modules(folder, kind) for kind in ARGUMENTS}
    new = sorted(modules[WITH] - modules[ALONE])
    heavy = [name for name in new if name.partition(".")[0] in HEAVY]
    yield Row("plugin: new modules in a session", len(new), "", Budget("<=", 15), ", ".join(new))
    asked = f"of {', '.join(HEAVY)}" + (f": {', '.join(heavy)}" if heavy else "")
    yield Row("plugin: heavy ones among them", len(heavy), "", Budget("<=", 0), asked)


def _time(folder: Path, rounds: int) -> Row:
    kinds = {kind: partial(run, pytest_command(*COMMON, *more), folder) for kind, more in ARGUMENTS.items()}
    done = interleaved(kinds, rounds)
    wall = median_difference([d.seconds for d in done[WITH]], [d.seconds for d in done[ALONE]])
    cpu = median_difference([d.cpu for d in done[WITH]], [d.cpu for d in done[ALONE]])
    note = f"median of {rounds} differences; the same of CPU time: {cpu * 1000:.1f} ms"
    return Row("plugin: over pytest alone, no goat items", wall * 1000, "ms", Budget("<", 5), note)


def _modules(folder: Path, kind: str) -> set[str]:
    told = folder.parent / "modules.json"  # beside what is collected, not in it
    arguments = pytest_command(*COMMON, *ARGUMENTS[kind])[3:]
    run([sys.executable, "-c", MODULES_AFTER, str(told), *arguments], folder)
    return set(json.loads(told.read_text()))

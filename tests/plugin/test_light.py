"""A run without goat items is untouched, and pays next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "asyncio", "httpx", "jsonschema", "modal", "yaml"}
MOST = 15
"""New modules over pytest alone."""

SESSION = """
import json, sys, pytest
code = pytest.main(["-q", "-p", "no:anyio", "-p", "no:cacheprovider", *sys.argv[1:]])
print("\\n" + json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def modules_after(pytester: pytest.Pytester, *options: str) -> set[str]:
    """What is loaded at the end of a whole session."""
    done = subprocess.run(
        [sys.executable, "-c", SESSION, *options],
        capture_output=True,
        text=True,
        check=True,
        cwd=pytester.path,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_plugin_loads_little(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    (pytester.path / "config.yaml").write_text("prompt: not a task\n")
    (pytester.path / "package.json").write_text("{}\n")
    without = modules_after(pytester, "-p", "no:goat")
    added = modules_after(pytester) - without
    assert "pytest_goat.plugin" in added
    assert len(added) <= MOST, sorted(added)
    assert not {name.split(".")[0] for name in added} & HEAVY


def test_a_run_without_trials_is_untouched(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*goat:*")
    result.stdout.no_fnmatch_line("*= goat =*")
    assert not (pytester.path / ".goat").exists()

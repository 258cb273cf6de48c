"""The pytest plugin: hooks that do nothing, and import nothing, until a prompt file or an option calls for it.

What follows from the first prompt file on is `pytest_goat.session`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_goat.errors import UserError
from pytest_goat.settings import Settings, load, option_name, options

if TYPE_CHECKING:
    from pytest_goat.collect import Suites
    from pytest_goat.fixture import Goat
    from pytest_goat.session import GoatSession

PROMPT_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".md")
RESULT_PROPERTY = "goat_result"
"""The user property in which a result travels from a worker, as JSON text."""

SESSION = pytest.StashKey["GoatSession"]()
SETTINGS = pytest.StashKey[Settings]()
SUITES = pytest.StashKey["Suites"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("goat", "agent benchmarks (pytest-goat)")
    for row in options():
        about = row.metadata
        kind: dict[str, Any] = {"action": "store", "metavar": about["metavar"]}
        if about["flag"]:
            kind = {"action": "store_const", "const": "true"}
        elif about["many"]:
            kind["action"] = "append"
        key = f"goat_{row.name}"
        group.addoption(option_name(row.name), dest=key, default=None, help=about["help"], **kind)
        parser.addini(key, about["help"], type="args" if about["many"] else "string", default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Choose the distribution that suits long trials, unless the user chose one."""
    option = config.option
    if getattr(option, "numprocesses", None) and option.dist == "no" and _suites_named(config):
        option.dist = "worksteal"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Workspaces, recordings and solutions below a suite hold no tests of ours, nor of anybody."""
    name = collection_path.name
    if name.startswith(("replay", "workspace", "solution", "_")) and collection_path.is_dir():
        return suites_of(config).ignores(collection_path) or None
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in PROMPT_SUFFIXES:
        return None
    from pytest_goat.collect import is_prompt_file

    named = parent.session.isinitpath(file_path)
    if not is_prompt_file(file_path, suites_of(parent.config), named):
        return None
    from pytest_goat.item import GoatFile

    session_of(parent.config)
    return GoatFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Under `-n` the controller looks once whether everything is there, before any worker starts."""
    config = session.config
    if config.pluginmanager.hasplugin("dsession") and _suites_named(config):
        session_of(config).preflight_controller()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All workers of a run write into the same folder."""
    goat = node.config.stash.get(SESSION, None)
    if goat is not None:
        node.workerinput["goat_run_id"] = goat.run_id


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take the result off the report: what else reads it gets short properties only."""
    for name, value in report.user_properties:
        if name == RESULT_PROPERTY:
            report.user_properties.remove((name, value))
            report.goat_result = value  # type: ignore[attr-defined]
            break


def pytest_unconfigure(config: pytest.Config) -> None:
    goat = config.stash.get(SESSION, None)
    if goat is not None:
        goat.close()


@pytest.fixture
def goat(request: pytest.FixtureRequest) -> Iterator[Goat]:
    """Run an agent from a Python test: `r = goat.run("...", files={...}); assert r.exec("pytest -q").ok`."""
    from pytest_goat.fixture import Goat

    with Goat(session_of(request.config), request.node.nodeid) as given:
        yield given


def settings_of(config: pytest.Config) -> Settings:
    """Read the options, once. Raises `pytest.UsageError` for a wrong one."""
    if SETTINGS not in config.stash:
        try:
            config.stash[SETTINGS] = load(
                lambda key: config.getoption(key, None), lambda key: config.getini(key), os.environ
            )
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[SETTINGS]


def session_of(config: pytest.Config) -> GoatSession:
    """The run of this process; it begins to exist with the first prompt file."""
    if SESSION not in config.stash:
        from pytest_goat.session import GoatSession

        config.stash[SESSION] = goat = GoatSession(config, settings_of(config))
        config.pluginmanager.register(goat, "goat-session")
    return config.stash[SESSION]


def suites_of(config: pytest.Config) -> Suites:
    if SUITES not in config.stash:
        from pytest_goat.collect import Suites

        config.stash[SUITES] = Suites(config.rootpath)
    return config.stash[SUITES]


def _suites_named(config: pytest.Config) -> bool:
    """Whether the command line names a suite, a folder of suites, or a prompt file: told without collecting."""
    for word in config.args:
        path = Path(config.invocation_params.dir, str(word).split("::")[0])
        if path.suffix in PROMPT_SUFFIXES or any((above / "goat.yaml").exists() for above in (path, *path.parents)):
            return True
        if path.is_dir() and any(path.glob("*/goat.yaml")):
            return True
    return False

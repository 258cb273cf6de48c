"""The pytest plugin: hooks that do nothing, and import nothing, until a prompt file calls for it.

What follows from the first prompt file on is `pytest_goat.session`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_goat.collect import SUFFIXES
from pytest_goat.errors import UserError
from pytest_goat.keys import (
    ASKED,
    FOUND,
    GIVEN,
    HANDED,
    RESULT_PROPERTY,
    RUN_ID,
    SESSION,
    SETTINGS,
    SUITES,
    WORKER_RUN_ID,
)
from pytest_goat.settings import Settings, load, option_name, options

if TYPE_CHECKING:
    from pytest_goat.collect import Suites
    from pytest_goat.fixture import Goat
    from pytest_goat.session import GoatSession


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
        form: Literal["args", "string"] = "args" if about["many"] else "string"
        parser.addini(key, about["help"], type=form, default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Choose the distribution that suits long trials, unless the user chose one."""
    option = config.option
    if getattr(option, "numprocesses", None) and option.dist == "no" and _suites_named(config):
        option.dist = "worksteal"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Workspaces, recordings and solutions below a suite hold no tests of ours, nor of anybody."""
    name = collection_path.name
    if not name.startswith(("replay", "workspace", "solution", "_")) or name == "__pycache__":
        return None
    try:
        return (collection_path.is_dir() and _suites_of(config).ignores(collection_path)) or None
    except UserError:
        return True  # a suite above is wrong, as its prompt files will say


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in SUFFIXES:
        return None
    from pytest_goat.collect import is_prompt_file

    named = parent.session.isinitpath(file_path)
    try:
        if not is_prompt_file(file_path, _suites_of(parent.config), named):
            return None
    except UserError:
        pass  # the suite is wrong: collecting the file says how
    from pytest_goat.item import GoatFile

    parent.config.stash[FOUND] = True
    return GoatFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """With the first trials, the run begins: preflight, before any sandbox exists."""
    config = session.config
    if FOUND not in config.stash or config.option.collectonly:
        return
    from pytest_goat.item import GoatItem

    trials = [item.trial for item in session.items if isinstance(item, GoatItem)]
    if trials and (config.option.continue_on_collection_errors or not session.testsfailed):
        _session_of(config).begin(session, trials)


class Incoming:
    """Takes results off the reports: what else reads a report gets short properties only."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = [str(value) for name, value in report.user_properties if name == RESULT_PROPERTY]
        if found:
            others = [pair for pair in report.user_properties if pair[0] != RESULT_PROPERTY]
            report.user_properties = others
            for text in found:
                _session_of(self._config).reporting.add(text)


def pytest_configure(config: pytest.Config) -> None:
    _settings_of(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Incoming(config), "goat-incoming")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Under `-n` the controller looks once whether everything is there, before any worker starts."""
    config = session.config
    if config.pluginmanager.hasplugin("dsession") and _suites_named(config):
        _session_of(config).lead()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All workers of a run write into the same folder."""
    node.workerinput[WORKER_RUN_ID] = _run_id_of(node.config)
    goat = node.config.stash.get(SESSION, None)
    node.workerinput[ASKED] = goat is not None
    node.workerinput[HANDED] = json.dumps(goat.handed if goat else {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker that died has closed nothing."""
    goat = node.config.stash.get(SESSION, None)
    if error and goat is not None:
        goat.sweep(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """A worker died: what it was at is an infrastructure error, and is stored as one."""
    from pytest_goat.item import is_trial

    if is_trial(crashitem):
        report.when = "setup"
        _session_of(sched.config).reporting.add_crash(crashitem, str(report.longrepr))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Who gives an option of ours where no prompt file is found is told where one is looked for."""
    if exitstatus != pytest.ExitCode.NO_TESTS_COLLECTED or FOUND in config.stash:
        return
    given = any(getattr(config.option, f"goat_{row.name}", None) is not None for row in options())
    # Under `-n` only the workers know what was found.
    if given and not config.pluginmanager.hasplugin("dsession"):
        terminalreporter.write_line(
            "goat: no prompt file was found. A suite is a folder with a goat.yaml, which may be empty; "
            "elsewhere, name the prompt file itself.",
            yellow=True,
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    goat = config.stash.get(SESSION, None)
    if goat is not None:
        goat.close()


@pytest.fixture
def goat(request: pytest.FixtureRequest) -> Iterator[Goat]:
    """Run an agent from a Python test: `r = goat.run("...", files={...}); assert r.exec("pytest -q").ok`."""
    from pytest_goat.fixture import Goat

    session = _session_of(request.config)
    given = request.node.stash[GIVEN] = Goat(session, request.node)
    yield given
    given.close()


@pytest.fixture(scope="session")
def goat_services(request: pytest.FixtureRequest) -> str:
    """The URL of the gateway on Modal, which answers; deployed first when `--goat-deploy` allows it."""
    return _session_of(request.config).services()


@pytest.fixture(scope="session")
def goat_vllm(request: pytest.FixtureRequest) -> dict[str, str]:
    """The URL of each model of `--goat-model` that vLLM serves on Modal: deployed, and warm."""
    return _session_of(request.config).vllm()


def _settings_of(config: pytest.Config) -> Settings:
    """Read the options, once. Raises `pytest.UsageError` for a wrong one."""
    if SETTINGS not in config.stash:
        try:
            config.stash[SETTINGS] = load(
                lambda key: config.getoption(key, None), lambda key: config.getini(key), os.environ
            )
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[SETTINGS]


def _run_id_of(config: pytest.Config) -> str:
    """The id that all processes of this run share."""
    if RUN_ID not in config.stash:
        from pytest_goat.run_id import new_run_id

        worker: dict[str, str] = getattr(config, "workerinput", {})
        config.stash[RUN_ID] = worker.get(WORKER_RUN_ID) or new_run_id()
    return config.stash[RUN_ID]


def _session_of(config: pytest.Config) -> GoatSession:
    """The run of this process; it begins to exist with the first trial."""
    if SESSION not in config.stash:
        from pytest_goat.session import GoatSession

        config.stash[SESSION] = goat = GoatSession(config, _settings_of(config), _run_id_of(config))
        config.pluginmanager.register(goat, "goat-session")
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(goat.reporting, "goat-reporting")
    return config.stash[SESSION]


def _suites_of(config: pytest.Config) -> Suites:
    if SUITES not in config.stash:
        from pytest_goat.collect import Suites

        config.stash[SUITES] = Suites(config.rootpath)
    return config.stash[SUITES]


def _suites_named(config: pytest.Config) -> bool:
    """Whether the command line names a suite, a folder of suites, or a prompt file; without collecting."""
    for word in config.args:
        path = Path(config.invocation_params.dir, str(word).split("::")[0])
        if path.suffix in SUFFIXES or any((above / "goat.yaml").exists() for above in (path, *path.parents)):
            return True
        if path.is_dir() and any(path.glob("*/goat.yaml")):
            return True
    return False

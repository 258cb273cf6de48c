"""Runs what deploys in a process of its own: the Modal SDK keeps one server for each process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.modal import ROOT, RunningServer

TIMEOUT = 100.0

CALL = """
import importlib, json, pathlib, sys
from pytest_goat.errors import UserError
module, function, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for name in {"log", "own_models"} & set(arguments):
    arguments[name] = pathlib.Path(arguments[name])
said, result, error = [], None, None
try:
    result = getattr(importlib.import_module(module), function)(say=said.append, **arguments)
except UserError as problem:
    error = str(problem)
print(json.dumps({"result": result, "error": error, "said": said}))
"""

MAKE = """
import json, sys, modal
name, secrets = sys.argv[1], json.loads(sys.argv[2])
modal.Environment.from_name(name, create_if_missing=True).hydrate()
for secret, values in secrets.items():
    modal.Secret.objects.create(secret, {}, environment_name=name, allow_existing=True)
    modal.Secret.from_name(secret, environment_name=name).update(values)
"""


@dataclass(frozen=True)
class Place:
    """A Modal environment."""

    server: RunningServer
    environment: str

    def deploys(self) -> int:
        """How often an app was deployed, by this test."""
        return self.server.calls().get("AppPublish", 0)

    def end_containers(self) -> None:
        for container in self.server.ask("containers"):
            self.server.ask("end_container", id=container["id"], kill=True)


@dataclass(frozen=True)
class Outcome:
    """What a call gave, or said in a `UserError`, and its lines of progress."""

    result: str | None
    error: str | None
    said: list[str]

    def url(self) -> str:
        """The result of a call that is to work."""
        assert self.error is None, self.error
        assert self.result is not None
        return self.result

    def problem(self) -> str:
        """What a call that is to fail says."""
        assert self.error is not None, self.result
        return self.error


class Call:
    """A call of a function of `pytest_goat.deploy` under way; `outcome` waits for its end."""

    def __init__(
        self, place: Place, name: str, environ: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> None:
        module, _, function = name.rpartition(".")
        given = {"environment": place.environment, **arguments}
        words = (f"pytest_goat.deploy.{module}", function, json.dumps(given, default=str))
        self._process = _start(place, [sys.executable, "-c", CALL, *words], environ)

    def outcome(self) -> Outcome:
        output, errors = _finish(self._process)
        assert self._process.returncode == 0, errors
        return Outcome(**json.loads(output.splitlines()[-1]))


def call(place: Place, name: str, environ: Mapping[str, str] | None = None, **arguments: Any) -> Outcome:
    """`call(place, "services.ensure_services", mode="auto", log=...)`."""
    return Call(place, name, environ or {}, arguments).outcome()


def modal_cli(place: Place, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run the real `modal` program; its exit code, and all that it said."""
    process = _start(place, [sys.executable, "-P", "-m", "modal", *arguments], {"COLUMNS": "200", **environ})
    output, errors = _finish(process)
    return process.returncode, output + errors


def make_environment(place: Place, secrets: Mapping[str, Mapping[str, str]]) -> None:
    """Make the environment, when it is not there, and secrets in it, or add to those."""
    run_python(place, MAKE, place.environment, json.dumps(secrets))


def run_python(place: Place, program: str, *arguments: str) -> None:
    """Run a program that uses the SDK, and is to succeed."""
    process = _start(place, [sys.executable, "-c", program, *arguments], {})
    _, errors = _finish(process)
    assert process.returncode == 0, errors


def _start(place: Place, command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**os.environ, **place.server.env, "NO_COLOR": "1", **environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it wrote to stdout and stderr, when it has ended, or was ended because it took too long."""
    try:
        return process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()

"""`modal deploy`, run as a program: the same that people type, with its output in a log file."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_goat.errors import UserError
from pytest_goat.redact import Redactor

DEADLINE = 30 * 60.0
"""Seconds: the first deploy builds images, that of vLLM from several gigabytes."""

SHOWN = 12
"""Lines of the log's end in an error."""

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
"""Names of variables whose values are taken out of what is shown."""

_NO_SECRET = re.compile(r"secret.*(not found|missing|does not exist|lacks)|missing.*secret", re.IGNORECASE)
_NO_ENVIRONMENT = re.compile(r"environment.*(not found|does not exist)|no .*environment", re.IGNORECASE)
_NO_TOKEN = re.compile(r"token (missing|id is|validation)|unauthenticated|autherror", re.IGNORECASE)
_OURS = re.compile(r"^error: (.+)", re.MULTILINE)


def deploy_command(file: Path, environment: str, extra: Mapping[str, str]) -> str:
    """What a person types to deploy `file`; `extra` are variables that the file reads."""
    variables = "".join(f"{name}={value} " for name, value in extra.items())
    return f"{variables}modal deploy {file} --env {environment}"


def run_deploy(file: Path, environment: str, extra: Mapping[str, str], log: Path) -> None:
    """Deploy the app of `file`; the rest as `run_modal`."""
    shown = deploy_command(file, environment, extra)
    run_modal(["deploy", str(file), "--env", environment], environment, log, shown=shown, extra=extra)


def run_modal(
    arguments: Sequence[str],
    environment: str,
    log: Path,
    *,
    shown: str = "",
    extra: Mapping[str, str] | None = None,
    deadline: float = DEADLINE,
) -> None:
    """Run `modal` with `arguments` and the variables `extra`; what it says is added to `log`.

    Raises `UserError` with the end of what it said and what to do, also after `deadline` seconds; `shown` is
    how a person would type the command.
    """
    command = [sys.executable, "-P", "-m", "modal", *arguments]
    environ = {**os.environ, **(extra or {}), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start = output.tell()
        code = _run(command, environ, output.fileno(), deadline)
    if code == 0:
        return
    said = _redactor(environ).text(log.read_bytes()[start:].decode(errors="replace"))
    raise UserError(
        f"`{shown or shlex.join(['modal', *arguments])}` "
        + (f"took longer than {deadline:g} s" if code is None else "failed")
        + f".\n{_end_of(said)}  {_mend(said, environment)}\n  The whole output: {log}"
    )


def _run(command: list[str], environ: Mapping[str, str], output: int, deadline: float) -> int | None:
    """The exit code; None when the program had to be ended."""
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(deadline)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _redactor(environ: Mapping[str, str]) -> Redactor:
    return Redactor(value for name, value in environ.items() if SECRET_NAME.search(name))


def _end_of(said: str) -> str:
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    return "".join(f"  | {line}\n" for line in lines[-SHOWN:])


def _mend(said: str, environment: str) -> str:
    if _OURS.search(said):
        return "Mend that, and try again."
    if _NO_SECRET.search(said) or _NO_ENVIRONMENT.search(said):
        return f"Make the environment and its secrets: python infra/setup.py --env {environment}"
    if _NO_TOKEN.search(said):
        return "Modal does not take the token: modal token new"
    return "Try it by hand to see more."

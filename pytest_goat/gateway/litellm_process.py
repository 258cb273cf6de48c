"""The real LiteLLM proxy as a process of ours, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp

from pytest_goat.errors import UserError
from pytest_goat.gateway.litellm_config import environment, render
from pytest_goat.models import Model
from pytest_goat.redact import Redactor

VERSION = "1.106.2"
"""The only LiteLLM whose ways with streams are known (`pytest_goat.gateway.litellm_streams`)."""

START_DEADLINE = 60.0
"""Seconds until it must be ready; it takes 5 to 16."""

_STOP_DEADLINE = 5.0
"""Seconds from SIGTERM to SIGKILL."""

_LOG_END = 1500
"""Characters of its log that an error shows."""

_PASSED_ON = (
    "PATH", "PYTHONPATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""What of our environment it gets beside the keys of its models: where programs, certificates and the way out
are. LiteLLM reads hundreds of variables; what it may do must not depend on who started it."""


class LiteLLMProcess:
    """LiteLLM's proxy with `models`, those without keys left out.

    `folder` (made when it is not there) gets its configuration and its log, `litellm.log`; neither has a
    secret in it.
    """

    def __init__(self, models: Iterable[Model], environ: Mapping[str, str], folder: Path) -> None:
        self._models, self._environ = tuple(models), environ
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: threading.Thread | None = None
        self.key = f"sk-{secrets.token_urlsafe(32)}"
        """The master key: random, known to this object and the process alone."""
        self.url = ""
        """Up to and with `/v1`; "" until it is started."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see: the master key, and the keys of the providers."""
        keys = (key for model in self._models for key in model.secrets(self._environ))
        return (self.key, *dict.fromkeys(keys))

    @property
    def log(self) -> Path:
        return self._folder / "litellm.log"

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own. It must have been started."""
        assert self._process is not None, "start() comes first"  # noqa: S101
        return self._process.pid

    async def start(self, deadline: float = START_DEADLINE) -> None:
        """Start it and wait until it is ready.

        Raises `UserError` when no LiteLLM of `VERSION` is installed; and with the end of its log when it is
        not ready within `deadline` seconds, or ends before: then nothing of it is left.
        """
        if problem := _unfit():
            raise UserError(f"{problem}: pip install 'pytest-goat[gateway]'")
        try:
            self._launch()
            problem = await self._wait(deadline)
        except BaseException:
            await self.stop()
            raise
        if problem:
            await self.stop()
            raise UserError(f"LiteLLM did not start: {problem}.\n{self._log_end()}".rstrip())

    async def stop(self) -> None:
        """End it and all that it started, within seconds. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, _STOP_DEADLINE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        if self._log is not None:
            await asyncio.to_thread(self._log.join)

    def _launch(self) -> None:
        import yaml

        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "litellm.config.yaml"
        config.write_text(yaml.safe_dump(render(self._models, self._environ), sort_keys=False), "utf-8")
        # The port is taken here and handed on, so that nobody can get between; and a connection to it waits
        # until LiteLLM is ready, or breaks when it ends.
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pytest_goat.gateway.litellm_main", str(listener.fileno())],
                env=self._child_environment(config),
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        # A daemon, or an interpreter that ends without stop() would wait for a log that ends after it.
        self._log = threading.Thread(target=self._write_log, args=(self._process,), daemon=True)
        self._log.start()

    def _child_environment(self, config: Path) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **environment(self._models, self._environ),
            "HOME": str(self._folder),
            "CONFIG_FILE_PATH": str(config),
            "LITELLM_MASTER_KEY": self.key,
            # Else it fetches prices from GitHub, and what a run costs depends on the day.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONUNBUFFERED": "1",
        }

    def _write_log(self, process: subprocess.Popen[bytes]) -> None:
        redactor = Redactor(self.secrets)
        assert process.stdout is not None  # noqa: S101
        with process.stdout as lines, self.log.open("wb", buffering=0) as log:
            for line in lines:
                log.write(redactor.data(line))

    async def _wait(self, deadline: float) -> str:
        """Why it does not get ready; "" once it is."""
        url = self.url.removesuffix("/v1") + "/health/readiness"
        try:
            async with (
                asyncio.timeout(deadline),
                aiohttp.ClientSession() as session,
                session.get(url) as answer,
            ):
                return "" if answer.status == 200 else f"it is not healthy (HTTP {answer.status})"
        except TimeoutError:
            return f"it was not ready after {deadline:g} s"
        except (aiohttp.ClientError, OSError):
            return "it ended"

    def _log_end(self) -> str:
        try:
            text = self.log.read_text("utf-8", "replace").strip()
        except OSError:
            return ""
        return f"The end of {self.log}:\n{text[-_LOG_END:]}" if text else f"{self.log} is empty."


def _unfit() -> str:
    """Why the LiteLLM that is installed cannot be started; "" when it can."""
    if not all(importlib.util.find_spec(name) for name in ("litellm", "uvicorn", "fastapi")):
        return "LiteLLM is not installed"
    found = importlib.metadata.version("litellm")
    return "" if found == VERSION else f"LiteLLM {found} is installed, and only {VERSION} is known here"

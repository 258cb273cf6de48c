"""Containers of deployed functions: a machine of its own, a process of the host's interpreter, one port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.modal_server.server import CONTAINER_HEADER
from tests.modal_server.state import Function, Placed, State
from tests.modal_server.volume_copy import VolumeCopy
from tests.modal_server.wire import conflict
from tests.support.ports import free_port

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
WORKDIR = "/root"
"""Where Modal puts the sources of a function, and where it starts."""
BOOT = 15.0
"""Seconds that a container may take to call its function, beside the function's own startup timeout."""
GRACE = 10.0
"""Seconds from SIGINT to SIGKILL at a container's end."""


class StartError(Exception):
    """A container did not come up; the message ends with what it said."""


class Container:
    """One container; `start` brings it up, and `url` is where its server listens then."""

    def __init__(self, state: State, function: Function, app_name: str) -> None:
        assert function.published is not None
        self.id = state.new_id("ta")
        self.app = function.app
        self.started = state.now()
        self._state = state
        self._function = function
        self._definition = function.published
        self._app_name = app_name
        self._folder = state.folder / "containers" / self.id
        self._folder.mkdir(parents=True)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None
        self._copies = {
            mount.volume_id: VolumeCopy(
                state.volumes.need(mount.volume_id).folder / mount.sub_path.lstrip("/"),
                self._folder / f"volume-{number}",
            )
            for number, mount in enumerate(self._definition.volume_mounts)
        }

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns when the function's port accepts connections. Raises `StartError`."""
        self._state.containers[self.id] = self
        (self._folder / "root").mkdir()
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.modal_server.container_init"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._spec()).encode())
        self._process.stdin.close()
        timeout = BOOT + self._definition.webhook_config.web_server_startup_timeout
        try:
            await asyncio.wait_for(self._listening(), timeout)
        except (TimeoutError, StartError) as error:
            await self.end()
            why = str(error) or f"its port did not accept connections within {timeout:g} s"
            raise StartError(f"{self._function.name}: {why}\n{self.log()}") from None

    async def end(self, *, kill: bool = False) -> None:
        """SIGINT, after a while SIGKILL; then what it wrote to its volumes is committed.

        `kill`: SIGKILL at once, and nothing is committed.
        """
        self._state.containers.pop(self.id, None)
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), GRACE)
            except TimeoutError:
                process.kill()
                await process.wait()
        if not kill:
            for copy in self._copies.values():
                copy.commit()

    def commit(self, volume: str) -> None:
        self._copy(volume).commit()

    def reload(self, volume: str) -> None:
        self._copy(volume).reload()

    def log(self) -> str:
        """What it wrote to stdout and stderr."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def describe(self) -> dict[str, Any]:
        return {"id": self.id, "app": self._app_name, "function": self._function.name, "url": self.url}

    @property
    def _log(self) -> Path:
        return self._folder / "log.txt"

    def _copy(self, volume: str) -> VolumeCopy:
        if volume not in self._copies:
            raise conflict(f"container {self.id} does not have volume {volume}")
        return self._copies[volume]

    async def _listening(self) -> None:
        while True:
            if not self.alive:
                raise StartError("it ended before its port accepted connections")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                return
            await asyncio.sleep(0.02)

    def _spec(self) -> dict[str, Any]:
        """What `container_init` reads."""
        files = self._files()
        mounts = self._definition.volume_mounts
        return {
            "parent": os.getpid(),
            "root": str(self._folder / "root"),
            "files": [(path, str(placed.source), placed.mode) for path, placed in files.items()],
            "folders": [(mount.mount_path, str(self._copies[mount.volume_id].folder)) for mount in mounts],
            "cwd": WORKDIR,
            "argv": [
                *(sys.executable, "-P", str(HERE / "function_main.py")),
                *(self._definition.module_name, self._function.name),
            ],
            "env": self._environment(),
        }

    def _files(self) -> dict[str, Placed]:
        files = dict(self._state.images.need(self._definition.image_id).files)
        for id_ in self._definition.mount_ids:
            files.update(self._state.mounts.need(id_).files)
        return files

    def _environment(self) -> dict[str, str]:
        image = self._state.images.need(self._definition.image_id)
        interpreter = str(Path(sys.executable).parent)
        own_port = f"GOAT_{self._function.name.upper().replace('-', '_')}_PORT"
        return {
            **image.env,
            **self._state.secret_env(self._definition.secret_ids),
            "PATH": f"{interpreter}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": WORKDIR,
            "LANG": "C.UTF-8",
            "PYTHONPATH": WORKDIR,
            "PYTHONUNBUFFERED": "1",
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": self._state.url,
            "MODAL_OVERRIDE_HEADERS": f"{CONTAINER_HEADER}:{self.id}",
            "MODAL_ENVIRONMENT": self._function.environment,
            "MODAL_TASK_ID": self.id,
            "MODAL_IMAGE_ID": image.id,
            own_port: str(self._port),
        }

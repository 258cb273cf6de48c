"""Images: layers as the SDK describes them. Nothing is installed; what is copied in is really there.

A layer is built when it is asked for first: its context mount must be there, and a `FROM` must name a base.
`RUN` lines are recorded and taken as given by the host. A test makes a build fail by `admin_fail_build`.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from modal_proto import api_pb2

from tests.modal_server.state import BUILDER_VERSION, Call, Image, Placed, State

SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


def metadata() -> api_pb2.ImageMetadata:
    return api_pb2.ImageMetadata(
        python_version_info="Python 3.12.10",
        image_builder_version=BUILDER_VERSION,
        libc_version_info="glibc 2.36",
    )


class BuildError(Exception):
    """A layer cannot be built; the message is what its log ends with."""


class Images:
    def __init__(self, state: State) -> None:
        self._state = state
        self._by_definition: dict[bytes, str] = {}
        self._failures: list[tuple[str, str]] = []

    async def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest, call: Call
    ) -> api_pb2.ImageGetOrCreateResponse:
        key = request.image.SerializeToString(deterministic=True)
        known = self._by_definition.get(key)
        if known and not request.force_build and self._state.images[known].result.status == SUCCESS.status:
            return api_pb2.ImageGetOrCreateResponse(image_id=known, result=SUCCESS, metadata=metadata())
        image = Image(self._state.new_id("im"), created=self._state.now(), definition=request.image)
        self._state.images.add(image)
        self._by_definition[key] = image.id
        return api_pb2.ImageGetOrCreateResponse(image_id=image.id)

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest, call: Call
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        image = self._state.images.need(request.image_id)
        if not image.result.status:
            self._build(image)
        lines = [*image.definition.dockerfile_commands, image.result.exception]
        logs = [api_pb2.TaskLogs(data=f"{line}\n", timestamp=self._state.now()) for line in lines if line]
        yield api_pb2.ImageJoinStreamingResponse(task_logs=logs, entry_id="1-0")
        yield api_pb2.ImageJoinStreamingResponse(result=image.result, metadata=metadata(), eof=True)

    async def ImageFromId(
        self, request: api_pb2.ImageFromIdRequest, call: Call
    ) -> api_pb2.ImageFromIdResponse:
        image = self._state.images.need(request.image_id)
        return api_pb2.ImageFromIdResponse(image_id=image.id, metadata=metadata())

    def admin_fail_build(self, *, containing: str, message: str = "command failed") -> None:
        """The next build of a layer with a command that contains the text fails with the message."""
        self._failures.append((containing, message))

    def admin_images(self) -> list[dict[str, Any]]:
        """Every layer: id, base, commands, paths of what was copied in."""
        return [
            {
                "id": image.id,
                "base": [base.image_id for base in image.definition.base_images],
                "commands": list(image.definition.dockerfile_commands),
                "files": sorted(image.files),
                "env": image.env,
            }
            for image in self._state.images.values()
        ]

    def _build(self, image: Image) -> None:
        try:
            self._fail_as_wished(image.definition.dockerfile_commands)
            for base in image.definition.base_images:
                below = self._state.images.need(base.image_id)
                image.files.update(below.files)
                image.env.update(below.env)
                image.workdir = below.workdir
            _Layer(self._state, image).apply()
            image.result = SUCCESS
        except BuildError as error:
            failed = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
            image.result = api_pb2.GenericResult(status=failed, exception=str(error))

    def _fail_as_wished(self, commands: Iterable[str]) -> None:
        for failure in self._failures:
            containing, message = failure
            if any(containing in command for command in commands):
                self._failures.remove(failure)
                raise BuildError(message)


class _Layer:
    """Applies the lines of one layer's Dockerfile that change what the server keeps of an image."""

    def __init__(self, state: State, image: Image) -> None:
        self._image = image
        mount = image.definition.context_mount_id
        self._files = dict(state.mounts.need(mount).files) if mount else {}
        for item in image.definition.context_files:
            content = state.content.path(state.content.put(item.data))
            self._files[posixpath.join("/", item.filename)] = Placed(content)

    def apply(self) -> None:
        for line in _joined(self._image.definition.dockerfile_commands):
            word, _, rest = line.strip().partition(" ")
            match word.upper():
                case "COPY" | "ADD" if "--from" not in rest and "://" not in rest:
                    self._copy([arg for arg in shlex.split(rest) if not arg.startswith("--")])
                case "ENV":
                    self._image.env.update(_assignments(rest))
                case "WORKDIR":
                    self._image.workdir = posixpath.join(self._image.workdir or "/", rest.strip())

    def _copy(self, args: list[str]) -> None:
        *sources, target = args
        target = posixpath.join(self._image.workdir or "/", target)
        for source in sources:
            copied = dict(self._copied(source, target))
            if not copied and posixpath.basename(source) != ".":
                raise BuildError(f"COPY failed: {source} is not in the build context")
            self._image.files.update(copied)

    def _copied(self, source: str, target: str) -> Iterator[tuple[str, Placed]]:
        """Where each file that `source` stands for goes; a folder's content goes into `target`."""
        source = posixpath.normpath(posixpath.join("/", source))
        into = target.endswith(("/", "/.")) or "*" in source
        folder = source.rstrip("/") + "/"
        for path, placed in self._files.items():
            if path.startswith(folder):
                yield posixpath.normpath(posixpath.join(target, path[len(folder) :])), placed
            elif posixpath.dirname(path) == posixpath.dirname(source) and fnmatchcase(path, source):
                place = posixpath.join(target, posixpath.basename(path)) if into else target
                yield posixpath.normpath(place), placed


def _joined(lines: Iterable[str]) -> list[str]:
    """Instructions, each on one line: a backslash at a line's end goes on with the next one."""
    return "\n".join(lines).replace("\\\n", " ").split("\n")


def _assignments(text: str) -> dict[str, str]:
    """`A=1 B="2 3"`, as a Dockerfile's ENV has it."""
    return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)

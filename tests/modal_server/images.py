"""Images: layers as the SDK describes them. Nothing is installed; what is copied in is really there.

A layer is built when it is asked for first: its context mount must be there, and a `FROM` must name a base.
`RUN` lines are recorded and taken as given by the host. A test makes a build fail by `admin_fail_build`.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
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
        problem = self._problem(image.definition.dockerfile_commands)
        if problem:
            failed = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
            image.result = api_pb2.GenericResult(status=failed, exception=problem)
            return
        for base in image.definition.base_images:
            below = self._state.images.need(base.image_id)
            image.files.update(below.files)
            image.env.update(below.env)
            image.workdir = below.workdir
        _Layer(self._state, image).apply()
        image.result = SUCCESS

    def _problem(self, commands: Any) -> str:
        for failure in self._failures:
            if any(failure[0] in command for command in commands):
                self._failures.remove(failure)
                return failure[1]
        return ""


class _Layer:
    """Applies the lines of one layer's Dockerfile that change what the server keeps of an image."""

    def __init__(self, state: State, image: Image) -> None:
        self._state = state
        self._image = image
        self._context = {f"/{item.filename}": item for item in image.definition.context_files}
        mount = image.definition.context_mount_id
        self._files = state.mounts.need(mount).files if mount else {}

    def apply(self) -> None:
        for line in self._image.definition.dockerfile_commands:
            word, _, rest = line.strip().partition(" ")
            match word.upper():
                case "COPY" | "ADD":
                    self._copy([arg for arg in shlex.split(rest) if not arg.startswith("--")])
                case "ENV":
                    self._image.env.update(_assignments(rest))
                case "WORKDIR":
                    self._image.workdir = posixpath.join(self._image.workdir or "/", rest.strip())

    def _copy(self, args: list[str]) -> None:
        *sources, target = args
        for source in sources:
            for place, placed in self._copied(source, posixpath.join(self._image.workdir or "/", target)):
                self._image.files[place] = placed

    def _copied(self, source: str, target: str) -> Iterator[tuple[str, Placed]]:
        """Where each file that `source` stands for goes; a folder's content goes into `target`."""
        source = posixpath.normpath(posixpath.join("/", source))
        into = target.endswith("/") or posixpath.basename(target) == "."
        if source in self._context:
            digest = self._state.content.put(self._context[source].data)
            yield self._place(source, target, into), Placed(self._state.content.path(digest))
        if source in self._files:
            yield self._place(source, target, into), replace(self._files[source])
        folder = source.rstrip("/") + "/"
        for path, placed in self._files.items():
            if path.startswith(folder):
                yield posixpath.normpath(posixpath.join(target, path[len(folder) :])), placed

    @staticmethod
    def _place(source: str, target: str, into: bool) -> str:
        return posixpath.normpath(posixpath.join(target, posixpath.basename(source)) if into else target)


def _assignments(text: str) -> dict[str, str]:
    """`A=1 B="2 3"`, as a Dockerfile's ENV has it."""
    return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)

"""Mounts: local files that the SDK uploads by their hash, and names of Modal's own that stand for nothing."""

from __future__ import annotations

import hashlib

from modal_proto import api_pb2

from tests.modal_server.state import Call, Mount, Placed, State
from tests.modal_server.wire import conflict, invalid


class Mounts:
    def __init__(self, state: State) -> None:
        self._state = state

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, call: Call
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [digest for digest in request.sha256_hex_hashes if not self._state.content.has(digest)]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest, call: Call
    ) -> api_pb2.MountPutFileResponse:
        """A request without data asks whether the content is there."""
        if request.data_blob_id:
            found = self._state.blobs.get(request.data_blob_id)
            if found != request.sha256_hex:
                raise invalid("the blob is not what its hash says")
        elif request.data and self._state.content.put(request.data) != request.sha256_hex:
            raise invalid("the data is not what its hash says")
        elif not request.data and request.sha256_hex == hashlib.sha256().hexdigest():
            self._state.content.put(b"")
        return api_pb2.MountPutFileResponse(exists=self._state.content.has(request.sha256_hex))

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, call: Call
    ) -> api_pb2.MountGetOrCreateResponse:
        name = request.deployment_name
        if name and request.namespace == api_pb2.DEPLOYMENT_NAMESPACE_GLOBAL:
            # The SDK's own files and builds of Python, which containers have from the host.
            mounts = self._state.mounts
            mount = mounts.named(name, "") or mounts.add(Mount(self._state.new_id("mo"), name, ""))
        else:
            mount = self._state.mounts.get_or_create(
                request.object_creation_type,
                name,
                self._state.environment(request.environment_name),
                lambda name: self._create(name, request),
            )
        checksum = hashlib.sha256(repr(sorted(mount.files.items())).encode()).hexdigest()
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount.id, handle_metadata=metadata)

    def _create(self, name: str, request: api_pb2.MountGetOrCreateRequest) -> Mount:
        """The same files without a name are the same mount, so that images made of them are found again.

        Raises FAILED_PRECONDITION when the content of a file was not uploaded.
        """
        files = {}
        for file in request.files:
            if not self._state.content.has(file.sha256_hex):
                raise conflict(f"the content of {file.filename} was not uploaded")
            files[file.filename] = Placed(self._state.content.path(file.sha256_hex), file.mode or 0o644)
        same = (mount for mount in self._state.mounts.values() if not (name or mount.name))
        if known := next((mount for mount in same if mount.files == files), None):
            return known
        environment = self._state.environment(request.environment_name)
        return Mount(self._state.new_id("mo"), name, environment, files=files)

"""Bytes that go by HTTP beside gRPC: blobs by an id of the server's, blocks of volumes by their hash."""

from __future__ import annotations

import hashlib

from aiohttp import web
from modal_proto import api_pb2

from tests.modal_server.state import Call, State
from tests.modal_server.wire import not_found


class Blobs:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/blob/{id}", self._put_blob),
            web.get("/blob/{id}", self._get_blob),
            web.put("/block/{digest}", self._put_block),
        ]

    async def BlobCreate(self, request: api_pb2.BlobCreateRequest, call: Call) -> api_pb2.BlobCreateResponse:
        blob = self._state.new_id("bl")
        return api_pb2.BlobCreateResponse(
            blob_ids=[blob], upload_urls=api_pb2.UploadUrlList(items=[f"{self._state.http}/blob/{blob}"])
        )

    async def BlobGet(self, request: api_pb2.BlobGetRequest, call: Call) -> api_pb2.BlobGetResponse:
        if request.blob_id not in self._state.blobs:
            raise not_found(f"Blob {request.blob_id!r} not found")
        return api_pb2.BlobGetResponse(download_url=f"{self._state.http}/blob/{request.blob_id}")

    async def _put_blob(self, request: web.Request) -> web.Response:
        data = await request.read()
        self._state.blobs[request.match_info["id"]] = self._state.content.put(data)
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        digest = self._state.blobs.get(request.match_info["id"])
        if digest is None:
            raise web.HTTPNotFound
        return web.FileResponse(self._state.content.path(digest))

    async def _put_block(self, request: web.Request) -> web.Response:
        """The answer's body is what the SDK hands back as proof in the second VolumePutFiles2."""
        digest = self._state.content.put(await request.read())
        if digest != request.match_info["digest"]:
            raise web.HTTPBadRequest(text="the block is not what its hash says")
        return web.Response(body=bytes.fromhex(digest))

"""Files in volumes: v2 in blocks over HTTP, v1 by the hashes that mounts use too."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path, PurePosixPath

from aiohttp import web
from modal_proto import api_pb2

from tests.modal_server.state import Call, State, Volume
from tests.modal_server.wire import Empty, conflict, exists, invalid, not_found

BLOCK = 8 * 1024 * 1024
"""Bytes of every block of a v2 volume's file but the last."""
BATCH = 500
"""Entries in one message of a listing."""


class VolumeFiles:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/volume/{id}/{path:.+}", self._get_block)]

    async def VolumePutFiles2(
        self, request: api_pb2.VolumePutFiles2Request, call: Call
    ) -> api_pb2.VolumePutFiles2Response:
        """Says which blocks are missing; when none is, all files are written."""
        volume = self._state.volumes.need(request.volume_id)
        _refuse_overwriting(volume, [file.path for file in request.files], request)
        missing = [
            api_pb2.VolumePutFiles2Response.MissingBlock(
                file_index=file_index, block_index=block_index, put_url=f"{self._state.http}/block/{digest}"
            )
            for file_index, file in enumerate(request.files)
            for block_index, block in enumerate(file.blocks)
            if not self._state.content.has(digest := block.contents_sha256.hex())
        ]
        if not missing:
            for file in request.files:
                sources = [self._state.content.path(block.contents_sha256.hex()) for block in file.blocks]
                _write(_inside(volume, file.path), sources, file.size, file.mode)
        return api_pb2.VolumePutFiles2Response(missing_blocks=missing)

    async def VolumePutFiles(self, request: api_pb2.VolumePutFilesRequest, call: Call) -> Empty:
        volume = self._state.volumes.need(request.volume_id)
        _refuse_overwriting(volume, [file.filename for file in request.files], request)
        for file in request.files:
            if not self._state.content.has(file.sha256_hex):
                raise conflict(f"the content of {file.filename} was not uploaded")
            source = self._state.content.path(file.sha256_hex)
            _write(_inside(volume, file.filename), [source], source.stat().st_size, file.mode)
        return Empty()

    async def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request, call: Call
    ) -> api_pb2.VolumeGetFile2Response:
        volume = self._state.volumes.need(request.volume_id)
        file = _there(volume, request.path)
        if not file.is_file():
            raise invalid(f"{request.path} is not a file")
        size = file.stat().st_size
        end = min(size, request.start + request.len) if request.len else size
        path = file.relative_to(volume.folder).as_posix()
        base = f"{self._state.http}/volume/{volume.id}/{path}"
        urls = [
            f"{base}?start={max(start, request.start)}&end={min(start + BLOCK, end)}"
            for start in range(request.start // BLOCK * BLOCK, end, BLOCK)
        ]
        length = max(0, end - request.start)
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=request.start, len=length)

    async def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request, call: Call
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        for batch in _batches(self._list(request)):
            yield api_pb2.VolumeListFiles2Response(entries=batch)

    async def VolumeListFiles(
        self, request: api_pb2.VolumeListFilesRequest, call: Call
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        for batch in _batches(self._list(request)):
            yield api_pb2.VolumeListFilesResponse(entries=batch)

    async def VolumeRemoveFile2(self, request: api_pb2.VolumeRemoveFile2Request, call: Call) -> Empty:
        return self._remove(request)

    async def VolumeRemoveFile(self, request: api_pb2.VolumeRemoveFileRequest, call: Call) -> Empty:
        return self._remove(request)

    async def VolumeCopyFiles2(self, request: api_pb2.VolumeCopyFiles2Request, call: Call) -> Empty:
        return self._copy(request)

    async def VolumeCopyFiles(self, request: api_pb2.VolumeCopyFilesRequest, call: Call) -> Empty:
        return self._copy(request)

    def _list(
        self, request: api_pb2.VolumeListFiles2Request | api_pb2.VolumeListFilesRequest
    ) -> list[api_pb2.FileEntry]:
        volume = self._state.volumes.need(request.volume_id)
        top = _there(volume, request.path)
        if top.is_file():
            return [_entry(volume, top)]
        found = top.rglob("*") if request.recursive else top.iterdir()
        return [_entry(volume, path) for path in sorted(found)]

    def _remove(self, request: api_pb2.VolumeRemoveFile2Request | api_pb2.VolumeRemoveFileRequest) -> Empty:
        path = _there(self._state.volumes.need(request.volume_id), request.path)
        if not path.is_dir():
            path.unlink()
        elif request.recursive:
            shutil.rmtree(path)
        else:
            raise invalid(f"{request.path} is a directory; remove it with recursive=True")
        return Empty()

    def _copy(self, request: api_pb2.VolumeCopyFiles2Request | api_pb2.VolumeCopyFilesRequest) -> Empty:
        """As cp does: into `dst_path` when it is a folder, else under its name."""
        volume = self._state.volumes.need(request.volume_id)
        target = _inside(volume, request.dst_path)
        if len(request.src_paths) > 1 and not target.is_dir():
            raise invalid(f"{request.dst_path} is not a directory")
        for name in request.src_paths:
            source = _there(volume, name)
            into = target / source.name if target.is_dir() else target
            into.parent.mkdir(parents=True, exist_ok=True)
            if not source.is_dir():
                shutil.copy2(source, into)
            elif request.recursive:
                shutil.copytree(source, into)
            else:
                raise invalid(f"{name} is a directory; copy it with recursive=True")
        return Empty()

    async def _get_block(self, request: web.Request) -> web.Response:
        volume = self._state.volumes.get(request.match_info["id"])
        if volume is None:
            raise web.HTTPNotFound
        try:
            with _inside(volume, request.match_info["path"]).open("rb") as file:
                start = int(request.query["start"])
                file.seek(start)
                return web.Response(body=file.read(int(request.query["end"]) - start))
        except OSError as error:
            raise web.HTTPNotFound from error


def _inside(volume: Volume, path: str) -> Path:
    """Where `path` lies on the host. Raises INVALID_ARGUMENT for one that leads out of the volume."""
    parts = PurePosixPath("/", path).parts[1:]
    if ".." in parts:
        raise invalid(f"{path!r} leads out of the volume")
    return volume.folder.joinpath(*parts)


def _there(volume: Volume, path: str) -> Path:
    found = _inside(volume, path)
    if not os.path.lexists(found):
        raise not_found(f"No such file or directory: {path}")
    return found


def _refuse_overwriting(
    volume: Volume,
    paths: Sequence[str],
    request: api_pb2.VolumePutFiles2Request | api_pb2.VolumePutFilesRequest,
) -> None:
    if request.disallow_overwrite_existing_files:
        for path in paths:
            if _inside(volume, path).exists():
                raise exists(f"{path}: already exists")


def _write(target: Path, blocks: Sequence[Path], size: int, mode: int) -> None:
    """Put the file in place whole: a reader sees the old one or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".upload-", delete=False) as file:
        for number, block in enumerate(blocks):
            file.seek(number * BLOCK)  # a block may come without the zeros at its end
            file.write(block.read_bytes())
        file.truncate(size)
    Path(file.name).chmod(mode or 0o644)
    Path(file.name).rename(target)


def _entry(volume: Volume, path: Path) -> api_pb2.FileEntry:
    status = path.lstat()
    kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
    name = path.relative_to(volume.folder).as_posix()
    return api_pb2.FileEntry(path=name, type=kind, mtime=int(status.st_mtime), size=status.st_size)


def _batches(entries: list[api_pb2.FileEntry]) -> Iterator[list[api_pb2.FileEntry]]:
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]

"""Requests to what runs inside a sandbox, and its replies. The format is described in `inside`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_goat.errors import Cause, GoatError, SandboxError
from pytest_goat.sandbox.base import MB, ExecResult, File, SandboxLimits, Taken, parts_of

_MAX_HEADER = 64 * MB
"""Bytes: ten thousand of the longest paths are less."""
_END = b"END\n"


class BadReply(SandboxError):
    """What came is no reply: the sandbox is not to be trusted any more."""

    def __init__(self, problem: str) -> None:
        super().__init__(Cause.SANDBOX_LOST, f"modal: the sandbox was lost: its reply {problem}")


@dataclass(frozen=True, slots=True)
class Put:
    root: str
    path: str
    file: File | None


@dataclass(frozen=True, slots=True)
class Command:
    argv: Sequence[str]
    stdin: bytes
    env: dict[str, str]
    cwd: str
    timeout: float
    until_told: bool = False
    """The end of stdin is the end of its time, if that comes before `timeout`."""


@dataclass(frozen=True, slots=True)
class Take:
    root: str
    paths: Sequence[str] | None
    max_bytes: int
    max_files: int


@dataclass(frozen=True, slots=True)
class Haul:
    """The files of one `Take`."""

    files: dict[str, File]
    refused: dict[str, str]
    """Path -> why."""
    truncated: bool

    def taken(self) -> Taken:
        refused = tuple(f"{path}: {why}" for path, why in self.refused.items())
        return Taken(self.files, refused, self.truncated)


@dataclass(frozen=True, slots=True)
class Reply:
    hauls: list[Haul]
    used: int = 0
    """Bytes on disk of everything in `workdir` and `outdir`."""
    result: ExecResult | None = None
    clean: bool = True
    """Nothing that the command started is alive."""
    refusal: str = ""
    """Why nothing was done: "image" or "put", see `inside.refusal`; "" when it was."""
    message: str = ""


def request(
    puts: Sequence[Put], command: Command | None, takes: Sequence[Take], limits: SandboxLimits
) -> bytes:
    """One message for stdin."""
    header: dict[str, Any] = {
        "puts": [_put_row(put) for put in puts],
        "command": None,
        "takes": [(take.root, take.paths, take.max_bytes, take.max_files) for take in takes],
        "limits": {
            "memory": limits.memory,
            "processes": limits.processes,
            "file_size": limits.file_size,
            "disk": limits.disk,
            "output": limits.output,
            "open_files": limits.open_files,
        },
    }
    body = [put.file.data for put in puts if put.file is not None]
    if command is not None:
        header["command"] = {
            "argv": list(command.argv),
            "env": command.env,
            "cwd": command.cwd,
            "timeout": command.timeout,
            "until_told": command.until_told,
            "stdin": len(command.stdin),
        }
        body.append(command.stdin)
    head = json.dumps(header).encode()
    return b"".join([b"%d\n" % len(head), head, *body])


def _put_row(put: Put) -> tuple[str, str, int, bool]:
    file = put.file
    return put.root, put.path, -1 if file is None else len(file.data), file is not None and file.executable


def most(takes: Sequence[Take], limits: SandboxLimits) -> int:
    """Bytes that a reply can have."""
    return _MAX_HEADER + 2 * limits.output + sum(take.max_bytes for take in takes)


class Frame:
    """The frame of a reply, while it arrives."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Raises `BadReply` for more than a reply can have."""
        self._data += chunk
        if len(self._data) > self._most:
            raise BadReply("is longer than it can be")

    def reply(self) -> Reply | None:
        """The reply; None when its end is missing. Raises `BadReply` for what is none."""
        line, newline, _ = self._data.partition(b"\n")
        if not newline or not self._data.endswith(_END):
            return None
        try:
            mark, head, body = line.split()
            start = len(line) + 1
            end = start + int(head)
            if mark != b"GOAT" or end + int(body) + len(_END) != len(self._data):
                return None
            return _reply(json.loads(self._data[start:end]), memoryview(self._data)[end : -len(_END)])
        except (ValueError, TypeError, KeyError, AttributeError, GoatError) as error:
            raise BadReply("makes no sense") from error


def _reply(header: dict[str, Any], body: memoryview) -> Reply:
    if "refusal" in header:
        return Reply([], refusal=str(header["refusal"]), message=str(header["message"]))
    result, clean = None, True
    if told := header.get("result"):
        out, err = told["streams"]
        result = ExecResult(
            exit_code=int(told["exit_code"]),
            stdout=bytes(body[:out]),
            stderr=bytes(body[out : out + err]),
            duration=float(told["duration"]),
            timed_out=bool(told["timed_out"]),
            limit=str(told["limit"]),
            truncated=bool(told["truncated"]),
        )
        body, clean = body[out + err :], bool(told["clean"])
    hauls = []
    for told in header["takes"]:
        files = {}
        for path, size, executable in told["files"]:
            files["/".join(parts_of(path))] = File(bytes(body[:size]), bool(executable))
            body = body[size:]
        refused = {str(path): str(why) for path, why in told["refused"]}
        hauls.append(Haul(files, refused, bool(told["truncated"])))
    return Reply(hauls, int(header["used"]), result, clean)

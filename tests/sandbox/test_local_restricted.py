"""Machines that allow less: the right isolation is chosen, or refused with what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from pytest_goat.errors import UserError
from pytest_goat.sandbox.local import landlock
from pytest_goat.sandbox.local.backend import LocalBackend

_TRY = """
import asyncio, ctypes, json, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, BIND = 0x10000000, 0x20000, 0x1000
def checked(result):
    if result == -1:
        print(json.dumps({"cannot": os.strerror(ctypes.get_errno())}))
        sys.exit()
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
def enter_user_namespace(flags=0):
    uid, gid = os.geteuid(), os.getegid()
    checked(libc.unshare(NEWUSER | flags))
    write("/proc/self/setgroups", "deny")
    write("/proc/self/gid_map", f"0 {gid} 1")
    write("/proc/self/uid_map", f"0 {uid} 1")
RESTRICTION
from pytest_goat.errors import UserError
from pytest_goat.sandbox.local import landlock
from pytest_goat.sandbox.local.backend import LocalBackend
async def attempt(engine, unsafe):
    backend = LocalBackend(engine, unsafe)
    try:
        await backend.start()
        return backend.description
    except UserError as error:
        return "refused: " + str(error)
    finally:
        await backend.stop()
found = {f"{engine}{' unsafe' if unsafe else ''}": asyncio.run(attempt(engine, unsafe))
         for engine, unsafe in (("ns", False), ("landlock", False), ("auto", False), ("auto", True))}
print(json.dumps(found))
"""

NO_USER_NAMESPACES = """
enter_user_namespace()
write("/proc/sys/user/max_user_namespaces", "0")
"""

MASKED_PROC = """
enter_user_namespace(NEWNS)
checked(libc.mount(b"/dev/null", b"/proc/uptime", None, BIND, None))
"""

NO_FILTERS = """
def op(code, yes, no, value):
    return struct.pack("=HBBI", code, yes, no, value)
prctl, seccomp = (157, 317) if os.uname().machine == "x86_64" else (167, 277)
program = ctypes.create_string_buffer(b"".join([
    op(0x20, 0, 0, 0),
    op(0x15, 3, 0, seccomp),
    op(0x15, 0, 3, prctl),
    op(0x20, 0, 0, 16),
    op(0x15, 0, 1, 22),
    op(0x06, 0, 0, 0x00050000 | 22),
    op(0x06, 0, 0, 0x7FFF0000),
]))
libc.prctl(38, 1, 0, 0, 0)
checked(libc.prctl(22, ctypes.c_ulong(2), struct.pack("@HP", 7, ctypes.addressof(program)), 0, 0))
"""


def user_namespaces_work() -> bool:
    """What another program than ours says."""
    flags = ["--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc", "--net", "--ipc"]
    try:
        return subprocess.run(["unshare", *flags, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def start(engine: str) -> str:
    """The header line of an engine. Raises `UserError` when it does not start."""

    async def header() -> str:
        backend = LocalBackend(engine)
        try:
            await backend.start()
            return backend.description
        finally:
            await backend.stop()

    return asyncio.run(header())


def outcomes(restriction: str) -> dict[str, Any]:
    """What each engine says, on this machine under `restriction`: its header line or its refusal."""
    argv = [sys.executable, "-c", _TRY.replace("RESTRICTION", restriction)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "cannot" in found:
        pytest.skip(f"this restriction cannot be made here: {found['cannot']}")
    return found


@pytest.mark.skipif(not user_namespaces_work(), reason="this machine does not allow user namespaces")
def test_namespaces_are_used_where_they_are_to_be_had() -> None:
    assert start("auto").startswith("local/ns (")


@pytest.mark.skipif(landlock.version() < landlock.ENOUGH, reason="the kernel's Landlock is too old, or off")
def test_landlock_is_used_where_it_is_to_be_had() -> None:
    assert start("landlock").startswith("local/landlock abi ")


def test_without_user_namespaces_landlock_is_taken_and_said() -> None:
    found = outcomes(NO_USER_NAMESPACES)
    assert found["ns"].startswith("refused: ")
    assert "sudo sysctl -w user.max_user_namespaces=15000" in found["ns"]
    if found["landlock"].startswith("refused"):
        pytest.skip(found["landlock"])
    assert found["auto"].startswith("local/landlock")
    assert "REDUCED" in found["auto"]


def test_with_proc_masked_as_in_containers_landlock_is_taken() -> None:
    found = outcomes(MASKED_PROC)
    assert "mount proc" in found["ns"]
    if found["landlock"].startswith("refused"):
        pytest.skip(found["landlock"])
    assert found["auto"].startswith("local/landlock")


def test_without_system_call_filters_nothing_is_isolated() -> None:
    found = outcomes(NO_FILTERS)
    for engine in ("ns", "landlock", "auto"):
        assert found[engine].startswith("refused: "), found
        assert "seccomp" in found[engine]
        assert "--goat-unsafe-local" in found[engine]
    assert found["auto unsafe"].startswith("local/none (UNSAFE")


@pytest.mark.parametrize(
    ("engine", "words"), [("docker", "auto, ns and landlock"), ("none", "--goat-unsafe-local")]
)
def test_an_engine_that_cannot_be_is_a_user_error(engine: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        LocalBackend(engine)

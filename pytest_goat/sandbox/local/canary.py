"""Proves that the isolation holds here, by trying to break out of a real sandbox; else says what is wrong.

Nothing less will do: where Ubuntu restricts user namespaces, `unshare` succeeds and what follows fails.
"""

from __future__ import annotations

import secrets
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from pytest_goat.errors import Cause, SandboxError
from pytest_goat.sandbox.base import Sandbox, SandboxSpec

_PROBE = """\
import socket, sys
path, port = sys.argv[1], int(sys.argv[2])
found = []
try:
    open(path).close()
    found.append("a host file")
except OSError:
    pass
try:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    found.append("a host port")
except OSError:
    pass
print("reached " + " and ".join(found) if found else "isolated")
"""
_SYSCTLS = {
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "user/max_user_namespaces": ("0", "15000"),
}
"""Below /proc/sys: the value that forbids user namespaces, and the one that allows them."""


async def check(open_sandbox: Callable[[SandboxSpec], Awaitable[Sandbox]]) -> None:
    """Raises `SandboxError` unless a sandbox opens, runs Python, and reaches no file or port of the host."""
    sandbox = await open_sandbox(SandboxSpec(f"canary-{secrets.token_hex(4)}"))
    try:
        with (
            tempfile.NamedTemporaryFile() as file,
            socket.create_server(("127.0.0.1", 0)) as decoy,
        ):
            Path(file.name).chmod(0o644)
            argv = [sys.executable, "-I", "-S", "-c", _PROBE, file.name, str(decoy.getsockname()[1])]
            result = await sandbox.exec(argv, timeout=20)
    finally:
        await sandbox.close()
    said = result.stdout.decode(errors="replace").strip()
    if said != "isolated":
        what = said or f"Python does not run inside: {result.stderr.decode(errors='replace').strip()[-300:]}"
        raise SandboxError(Cause.SANDBOX_LOST, f"local sandbox: {what}")


def refusal(refusals: Mapping[str, str]) -> str:
    """The message for the user: what each kind of isolation failed at, and what to do."""
    tried = "".join(f"\n  {engine}: {reason}" for engine, reason in refusals.items())
    return (
        f"local sandbox unavailable: this machine does not allow the isolation that it needs{tried}\n"
        f"  fix: {_mend(refusals.values())}\n"
        "  or use Modal (--goat-sandbox modal), or --goat-unsafe-local to run without isolation"
    )


def _mend(reasons: Iterable[str]) -> str:
    for name, (forbids, allows) in _SYSCTLS.items():
        if _read(f"/proc/sys/{name}") == forbids:
            return f"sudo sysctl -w {name.replace('/', '.')}={allows}"
    if any("seccomp" in reason for reason in reasons):
        return (
            "use a kernel with system call filters (CONFIG_SECCOMP_FILTER), and a container that allows them"
        )
    if any("not implemented" in reason for reason in reasons):
        return "use Linux 5.12 or newer"
    return (
        "allow user namespaces; in a container: "
        "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""

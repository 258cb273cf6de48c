"""Makes the machine that a deployed function runs in, and runs it: a program that reads JSON from stdin.

The container sees the host's file system with what it is given laid over it. What it writes stays in its own
memory, but for its volumes. It has pid and mount namespaces of its own, and the host's network. As root the
host's folders are overlaid; otherwise they are bound as they are, and only those at the top of the tree that
get something of the container's are its own.

Three processes: the launcher, outside, passes signals on; the init, process 1 inside, reaps; the program.
Whatever kills one of them ends all: the launcher dies with the server, the init with the launcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_goat.sandbox.local import syscalls
from pytest_goat.sandbox.local.syscalls import MS_BIND, MS_PRIVATE, MS_REC

BORROWED = ("dev", "sys")
"""Bound as they are; /proc is mounted anew."""


def main() -> int:
    spec = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != spec["parent"]:
        return 1
    user, group = os.geteuid(), os.getegid()
    root = user == 0
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | (0 if root else syscalls.CLONE_NEWUSER))
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    return _run_child(lambda: _init(spec, root))


def _init(spec: dict[str, Any], root: bool) -> int:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    _Root(spec, overlaid=root).enter()
    return _run_child(lambda: os.execve(spec["argv"][0], spec["argv"], spec["env"]))


def _run_child(run: Callable[[], int]) -> int:
    """Fork for `run`, pass SIGTERM and SIGINT on to it, reap; returns the child's exit code when it ends."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        os._exit(run())

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in signals:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) & 0xFF


class _Root:
    """The container's file system, built in an own tmpfs over the folder `spec["root"]`."""

    def __init__(self, spec: dict[str, Any], *, overlaid: bool) -> None:
        self._spec = spec
        self._new = Path(spec["root"])
        self._overlaid = overlaid
        places = [target for target, *_ in (*spec["files"], *spec["folders"])]
        self._filled = {Path(place).parts[1] for place in (*places, spec["cwd"])}
        """Folders at the top that get something of the container's own."""

    def enter(self) -> None:
        syscalls.mount("none", "/", "", MS_REC | MS_PRIVATE)
        syscalls.mount("tmpfs", str(self._new), "tmpfs", 0, "mode=755")
        for host in Path("/").iterdir():
            self._take_over(host)
        syscalls.mount("proc", str(self._folder("/proc")), "proc", 0)
        for target, source, mode in self._spec["files"]:
            place = self._folder(Path(target).parent) / Path(target).name
            shutil.copyfile(source, place)
            place.chmod(mode)
        for target, source in self._spec["folders"]:
            _bind(source, self._folder(target))
        self._folder(self._spec["cwd"])
        os.chroot(self._new)
        os.chdir(self._spec["cwd"])

    def _folder(self, path: str | Path) -> Path:
        """Where `path` of the container lies before the container is entered; made when it is not there."""
        place = self._new / Path(path).relative_to("/")
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _take_over(self, host: Path) -> None:
        if host.is_symlink():
            (self._new / host.name).symlink_to(host.readlink())
        elif host.is_dir() and host.name != "proc":
            place = self._folder(host)
            if host.name in BORROWED:
                _bind(host, place)
            elif self._overlaid:
                self._overlay(host, place)
            elif host.name in self._filled:
                _bind_children(host, place)
            else:
                _bind(host, place)

    def _overlay(self, host: Path, place: Path) -> None:
        upper, work = self._folder(f"/.upper/{host.name}"), self._folder(f"/.work/{host.name}")
        shutil.copystat(host, upper)
        options = f"lowerdir={host},upperdir={upper},workdir={work}"
        syscalls.mount("overlay", str(place), "overlay", 0, options)


def _bind(source: str | Path, place: Path) -> None:
    syscalls.mount(str(source), str(place), "", MS_BIND | MS_REC)


def _bind_children(host: Path, place: Path) -> None:
    """Put into `place` what the host's folder has in it; of one that cannot be read, nothing."""
    try:
        children = list(host.iterdir())
    except PermissionError:
        return
    for child in children:
        at = place / child.name
        if child.is_symlink():
            at.symlink_to(child.readlink())
            continue
        if child.is_dir():
            at.mkdir()
        else:
            at.touch()
        _bind(child, at)


if __name__ == "__main__":
    sys.exit(main())

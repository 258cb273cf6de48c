"""The file systems of zygote and boxes. Runs in the zygote's processes: the standard library alone.

The zygote's root holds read-only copies of host trees (`/lower/N`) and a few devices. The root of a box is a
tmpfs of its own; over each place of a host tree lies an overlay whose upper layer is that place of the tmpfs,
so that everything can be written to, and nothing of it reaches the host.
"""

from __future__ import annotations

# Importing pathlib would double the time that the zygote takes to start.
# ruff: noqa: PTH101, PTH102, PTH103, PTH112, PTH120, PTH211
import os
import shutil
import stat
from collections.abc import Mapping, Sequence

from pytest_goat.sandbox.local import syscalls
from pytest_goat.sandbox.local.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LOWER = "/lower"
_BOX = "/box"
_SIZE = "4g"
"""Most that the files of one box may take of the host's memory."""

_FOLDERS = {
    "/dev": 0o755, "/etc": 0o755, "/home": 0o755, "/mnt": 0o755, "/opt": 0o755, "/proc": 0o555,
    "/root": 0o711, "/run": 0o755, "/srv": 0o755, "/tmp": 0o1777, "/var": 0o755, "/var/tmp": 0o1777,
}  # fmt: skip
"""/root may be passed through, for an interpreter may lie below it."""
_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}


def enter_template(trees: Sequence[int], devices: Sequence[int]) -> None:
    """Make a small tmpfs the zygote's root, with the given descriptors of host trees and `DEVICES` in it."""
    syscalls.mount("tmpfs", "/usr", "tmpfs", MS_NOSUID, "size=1m,mode=755")  # any folder would do
    os.chdir("/usr")
    for folder in ("proc", "dev", _BOX[1:], _LOWER[1:]):
        os.mkdir(folder)
    places = [f"{_LOWER[1:]}/{number}" for number in range(len(trees))] + [f"dev/{name}" for name in DEVICES]
    for tree, place in zip((*trees, *devices), places, strict=True):
        _mount_point(tree, place)
        syscalls.attach_tree(tree, place)
        os.close(tree)
    # The kernel lets a proc be mounted only where one is in sight already: now, and for each box later.
    syscalls.mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.pivot_root(".", ".")
    syscalls.detach(".")
    os.chdir("/")


def _mount_point(tree: int, place: str) -> None:
    """Make `place` a folder or a file, whichever the tree is."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


class Root:
    """The root of a new box while it is made, in a fresh mount namespace."""

    def __init__(self) -> None:
        syscalls.mount("tmpfs", _BOX, "tmpfs", MS_NOSUID | MS_NODEV, f"size={_SIZE},mode=755")
        self._path, self._upper = f"{_BOX}/root", f"{_BOX}/upper"
        os.mkdir(self._path)
        os.mkdir(self._upper)
        # A new root has to be a mount, and upper layers must not be named by way of that.
        syscalls.mount(self._upper, self._path, "", MS_BIND)
        for folder, mode in _FOLDERS.items():
            os.mkdir(self._path + folder)
            os.chmod(self._path + folder, mode)
        self.add_links(_LINKS)

    def add_links(self, links: Mapping[str, str]) -> None:
        """Symbolic links: path -> where it points."""
        for link, target in links.items():
            os.makedirs(os.path.dirname(self._path + link), exist_ok=True)
            os.symlink(target, self._path + link)

    def add_folder(self, folder: str) -> None:
        os.makedirs(self._path + folder, exist_ok=True)

    def add_file(self, path: str, mode: int, data: int, offset: int, size: int) -> None:
        """A file of root's, whose `size` bytes lie in the descriptor `data` from `offset` on."""
        place = self._path + path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        file = os.open(place, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while size:
                sent = os.sendfile(file, data, offset, size)
                if not sent:
                    raise OSError(f"{path}: shorter than expected")
                offset, size = offset + sent, size - sent
            os.fchmod(file, mode)
        finally:
            os.close(file)

    def cover(self, trees: Sequence[str]) -> None:
        """Put the host trees at their places, below the files that are there already."""
        for number, tree in enumerate(trees):
            lower, place = f"{_LOWER}/{number}", self._path + tree
            if not os.path.isdir(lower):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                shutil.copyfile(lower, place)
                continue
            work = f"{_BOX}/work{number}"
            os.mkdir(work)
            os.makedirs(place, exist_ok=True)
            options = f"lowerdir={lower},upperdir={self._upper}{tree},workdir={work},userxattr"
            syscalls.mount("overlay", place, "overlay", MS_NOSUID | MS_NODEV, options)

    def attach(self, tree: int, path: str) -> None:
        """Mount a descriptor of a tree at `path`."""
        self.add_folder(path)
        syscalls.attach_tree(tree, self._path + path)
        os.close(tree)

    def enter(self) -> None:
        """Furnish /proc and /dev, and make this the root. For process 1 of the box's pid namespace."""
        for name in DEVICES:
            place = f"{self._path}/dev/{name}"
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            syscalls.mount(f"/dev/{name}", place, "", MS_BIND)
        for folder in ("pts", "shm"):
            os.mkdir(f"{self._path}/dev/{folder}")
        terminals = "newinstance,ptmxmode=0666,mode=0620"
        syscalls.mount("devpts", f"{self._path}/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals)
        syscalls.mount("tmpfs", f"{self._path}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        syscalls.mount("proc", f"{self._path}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.chdir(self._path)
        syscalls.pivot_root(".", ".")
        syscalls.detach(".")
        os.chdir("/")

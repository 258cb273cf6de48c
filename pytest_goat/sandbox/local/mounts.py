"""What a sandbox of tier `ns` sees as its file system.

The root is a template that the zygote builds once: read-only copies of host trees in a small tmpfs. Each
sandbox has it in a mount namespace of its own, with tmpfs of its own on it: one for workspace and records,
and one for each volatile folder.
"""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH102, PTH103, PTH120, PTH123, PTH211
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pytest_goat.sandbox.local import layout, syscalls
from pytest_goat.sandbox.local.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID
_NO_DEVICES = syscalls.MOUNT_ATTR_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEV_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}
_TEMPLATE_SIZE = 16 << 20
_SAVED = "/.saved"
"""Where the template keeps trees whose own place is below a volatile folder."""
_BOX = "/.box"
"""Where the tmpfs of workspace and records is mounted while a sandbox is made."""


class Kept(NamedTuple):
    """What has to be put into each fresh volatile folder."""

    trees: dict[str, str]
    """Place -> where the template keeps the tree."""
    links: dict[str, str]
    """Symbolic link -> where it points."""


def host_tree(path: str, *, devices: bool = False) -> int:
    """A descriptor of a detached read-only copy of the host's `path`, whatever is mounted below it too."""
    tree = syscalls.clone_tree(path)
    syscalls.restrict_mount(tree, _READ_ONLY | (0 if devices else _NO_DEVICES), recursive=True)
    return tree


def host_trees(paths: Sequence[str]) -> dict[str, int]:
    """Copies of `paths` and of the devices that every program expects. Done with the harness's identity."""
    trees = {path: host_tree(path) for path in paths}
    trees.update({f"/dev/{name}": host_tree(f"/dev/{name}", devices=True) for name in _DEVICES})
    return trees


def enter_template(trees: Mapping[str, int], links: Mapping[str, str]) -> Kept:
    """Build the minimal system and make it the root. For the zygote, as process 1 of its pid namespace."""
    syscalls.unshare(syscalls.CLONE_NEWNS)  # the keeper goes on seeing the host's tree in its own
    _tmpfs("/usr", _TEMPLATE_SIZE, 0o755)  # any folder would do as a mount point: the namespace is ours
    os.chdir("/usr")
    for folder in (
        "/proc",
        "/dev/pts",
        "/etc",
        "/root",
        _BOX,
        layout.WORKDIR,
        layout.OUTDIR,
        *layout.VOLATILE,
    ):
        os.makedirs(folder[1:], exist_ok=True)
    for name, text in layout.ETC.items():
        with open(f"etc/{name}", "x", encoding="utf-8") as file:
            file.write(text)
    saved = {path: f"{_SAVED}/{number}" for number, path in enumerate(trees) if _is_volatile(path)}
    for path, tree in trees.items():
        place = saved.get(path, path)[1:]
        _make_mount_point(tree, place)
        syscalls.attach_tree(tree, place)
    later = {link: target for link, target in links.items() if _is_volatile(link)}
    for link, target in {**links, **_DEV_LINKS}.items():
        if link not in later:
            _make_link(link[1:], target)
    # The kernel lets a proc be mounted only where one is in sight already: now, and for each init later.
    syscalls.mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.pivot_root(".", ".")
    syscalls.detach(".")
    os.chdir("/")
    return Kept(saved, later)


def _is_volatile(path: str) -> bool:
    return any(path.startswith(f"{folder}/") for folder in layout.VOLATILE)


def _make_mount_point(tree: int, place: str) -> None:
    """Make `place` a folder or a file, whichever the tree is."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _make_link(link: str, target: str) -> None:
    os.makedirs(os.path.dirname(link) or ".", exist_ok=True)
    os.symlink(target, link)


def _tmpfs(target: str, size: int, mode: int) -> None:
    options = f"{_size(size)},mode={mode:o},uid={layout.INNER_ID},gid={layout.INNER_ID}"
    syscalls.mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)


def _size(size: int) -> str:
    return f"size={size},nr_inodes={max(1024, size // 8192)}"


def furnish(disk: int, volatile: int, kept: Kept) -> int:
    """Mount everything that a fresh init's own mount namespace lacks; then nothing else can be written.

    `disk` and `volatile` are sizes in bytes. Returns a descriptor of the tmpfs of workspace and records.
    """
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    terminals = "newinstance,ptmxmode=0666,mode=0620"
    syscalls.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals)
    _tmpfs(_BOX, disk, 0o700)
    box = os.open(_BOX, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for folder in (layout.WORKDIR, layout.OUTDIR):
        os.mkdir(f"{_BOX}{folder}", 0o755)
        syscalls.mount(f"{_BOX}{folder}", folder, "", syscalls.MS_BIND)
    syscalls.detach(_BOX)
    for folder in layout.VOLATILE:
        _mount_volatile(folder, volatile, kept)
    syscalls.restrict_mount("/", syscalls.MOUNT_ATTR_RDONLY, recursive=False)
    return box


def _mount_volatile(folder: str, size: int, kept: Kept) -> None:
    """Mount an empty `folder`, with what is kept for it."""
    _tmpfs(folder, size, 0o755 if folder == layout.HOME else 0o1777)
    for place, saved in kept.trees.items():
        if place.startswith(f"{folder}/"):
            os.makedirs(place)
            syscalls.mount(saved, place, "", syscalls.MS_BIND | syscalls.MS_REC)
    for link, target in kept.links.items():
        if link.startswith(f"{folder}/"):
            _make_link(link, target)


class Change(NamedTuple):
    """What is to be mounted anew in a sandbox in which nothing but its init lives."""

    emptied: Sequence[str]
    """Volatile folders."""
    volatile: int
    """Size in bytes that they get."""
    disk: int = 0
    """Size in bytes that workspace and records get; 0: as it is."""
    targets: Sequence[str] = ()
    """Where the trees are mounted that come with it."""


def change(namespace: int, own: int, wanted: Change, trees: Sequence[int], kept: Kept) -> None:
    """Do so in the mount `namespace`, and come back to the `own` one. For the zygote.

    Raises `OSError` when a target cannot be made: it lies in a read-only tree, or is something else already.
    """
    for target, tree in zip(wanted.targets, trees, strict=True):
        _make_mount_point(tree, target)  # in the template, which every sandbox has as its root
    syscalls.setns(namespace, syscalls.CLONE_NEWNS)
    try:
        for target, tree in zip(wanted.targets, trees, strict=True):
            syscalls.attach_tree(tree, target)
        if wanted.disk:
            syscalls.remount(layout.WORKDIR, MS_NOSUID | MS_NODEV, _size(wanted.disk))
        for folder in wanted.emptied:
            syscalls.detach(folder)
            _mount_volatile(folder, wanted.volatile, kept)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNS)

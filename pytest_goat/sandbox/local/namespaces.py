"""Tier `ns`: what is unshared, what is mounted, and in which order.

Three processes share the work, each with less than the one before:

* the *keeper* has the harness's file identity and sees the host's tree, inside an own user namespace. It
  hands out read-only copies of host trees as descriptors, and does nothing else;
* the *zygote* is process 1 of an outer pid namespace. It has an unused user id, and for a root only the
  template: a minimal read-only system;
* the *init* of each sandbox is forked from the zygote. It is process 1 of the sandbox's own pid namespace and
  has own mount, network and IPC namespaces. Once these are furnished it enters a user namespace that owns
  none of them and gives up every capability, before the first command: nothing in a sandbox has any
  privilege, and capabilities won there would be worth nothing. The kernel counts processes by user namespace
  too, so RLIMIT_NPROC holds for each sandbox alone.

Between commands home and tmp are mounted anew; the zygote does that, from outside, when the init asks.
"""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH102, PTH103, PTH120, PTH123, PTH211
import contextlib
import os
import signal
import stat
from collections.abc import Mapping, Sequence

from pytest_goat.sandbox.local import layout, syscalls
from pytest_goat.sandbox.local.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID

_READ_ONLY = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID
_NO_DEVICES = syscalls.MOUNT_ATTR_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_SAVED = "/.saved"
"""Where the template keeps trees whose own place is below a volatile folder."""
_BOX = "/.box"
"""Where the tmpfs of workspace and records is mounted while a sandbox is made."""


def enter_user_namespace(host_id: int) -> None:
    """Enter a user namespace whose one user, `layout.INNER_ID`, is `host_id` outside.

    The maps of another id than the own have to be written from outside, by a helper that stays there.
    """
    if host_id == os.geteuid():
        gid = os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        write_to("/proc/self/setgroups", "deny")
        write_to("/proc/self/gid_map", f"{layout.INNER_ID} {gid} 1")
        write_to("/proc/self/uid_map", f"{layout.INNER_ID} {host_id} 1")
        return
    os.setgroups([])
    ready, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        os._exit(_map_parent(ready, host_id))
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.close(ready)
    os.write(go, b"1")
    os.close(go)
    _, status = os.waitpid(helper, 0)
    if status:
        raise PermissionError(f"write uid_map: cannot map user {host_id}")


def _map_parent(ready: int, host_id: int) -> int:
    if not os.read(ready, 1):
        return 1
    try:
        for kind in ("gid_map", "uid_map"):
            write_to(f"/proc/{os.getppid()}/{kind}", f"{layout.INNER_ID} {host_id} 1")
    except OSError:
        return 1
    return 0


def write_to(path: str, text: str, at: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def leave_host() -> None:
    """Unshare everything else from the host; children are in a new pid namespace."""
    syscalls.unshare(
        syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWCGROUP
    )
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)


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


def become_inner_user() -> None:
    """Take the one id that the user namespace has, and keep the capabilities that count inside it only."""
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setresgid(*[layout.INNER_ID] * 3)
    os.setresuid(*[layout.INNER_ID] * 3)
    # A change of identity hides /proc/self from ourselves; nobody else is there to be hidden from yet.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def enter_template(trees: Mapping[str, int], links: Mapping[str, str]) -> dict[str, str]:
    """Build the minimal system and make it the root. For the zygote, as process 1 of the outer namespace.

    Returns what has to be bound into each fresh volatile folder: target -> saved place.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)  # the keeper goes on seeing the host's tree in its own
    tmpfs("/usr", 16 << 20, mode=0o755)  # any folder would do as a mount point: the mount namespace is ours
    os.chdir("/usr")
    for folder in ("proc", "dev/pts", "etc", "root", _BOX[1:], layout.WORKDIR[1:], layout.OUTDIR[1:]):
        os.makedirs(folder, exist_ok=True)
    for volatile in layout.VOLATILE:
        os.makedirs(volatile[1:], exist_ok=True)
    for name, text in layout.ETC.items():
        _write_new(f"etc/{name}", text)
    saved = {path: f"{_SAVED}/{i}" for i, path in enumerate(trees) if _is_volatile(path)}
    for path, tree in trees.items():
        _attach(tree, saved.get(path, path)[1:])
    for link, target in {**links, **{f"/dev/{name}": target for name, target in _DEV_LINKS.items()}}.items():
        if not _is_volatile(link):
            os.makedirs(os.path.dirname(link)[1:] or ".", exist_ok=True)
            os.symlink(target, link[1:])
    # The kernel lets a proc be mounted only where one is in sight already: now, and for each init later.
    syscalls.mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.pivot_root(".", ".")
    syscalls.detach(".")
    os.chdir("/")
    return saved


def _is_volatile(path: str) -> bool:
    return any(path.startswith(f"{folder}/") for folder in layout.VOLATILE)


def _write_new(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


def _attach(tree: int, target: str) -> None:
    """Mount a detached copy at `target`, which is made as a folder or file, whichever the copy is."""
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.attach_tree(tree, target)


def tmpfs(target: str, size: int, mode: int = 0o700) -> None:
    inodes = max(1024, size // 8192)
    options = f"size={size},nr_inodes={inodes},mode={mode:o},uid={layout.INNER_ID},gid={layout.INNER_ID}"
    syscalls.mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options)


def fork_init(own_pid_namespace: int) -> int:
    """Fork process 1 of a new pid namespace; returns as `os.fork` does."""
    syscalls.unshare(syscalls.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        syscalls.setns(own_pid_namespace, syscalls.CLONE_NEWPID)
    return pid


def isolate_init() -> None:
    """Give a freshly forked init its own namespaces, with /proc, terminals and lo."""
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC)
    syscalls.loopback_up()
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.mount(
        "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"
    )


def furnish(disk: int, mounts: Mapping[str, int]) -> int:
    """Mount workspace, records and the sandbox's own read-only trees; then nothing else can be written.

    Returns a descriptor of the tmpfs that holds `workspace` and `out`.
    """
    tmpfs(_BOX, disk)
    box = os.open(_BOX, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for folder in (layout.WORKDIR, layout.OUTDIR):
        os.mkdir(f"{_BOX}{folder}", 0o755)
        syscalls.mount(f"{_BOX}{folder}", folder, "", syscalls.MS_BIND)
    syscalls.detach(_BOX)
    for target, tree in mounts.items():
        _attach(tree, target)
    syscalls.restrict_mount("/", syscalls.MOUNT_ATTR_RDONLY, recursive=False)
    return box


def mount_volatile(folder: str, size: int, saved: Mapping[str, str]) -> None:
    """Mount an empty `folder`, with those trees in it whose own place is there."""
    tmpfs(folder, size, 0o1777 if folder != layout.HOME else 0o755)
    for target, place in saved.items():
        if target.startswith(f"{folder}/"):
            os.makedirs(target)
            syscalls.mount(place, target, "", syscalls.MS_BIND | syscalls.MS_REC)


def enter_command_namespace() -> int:
    """Leave the namespaces' owner behind: for the user namespace of commands, with /proc read-only.

    /proc/sys and /proc/sysrq-trigger reach beyond every namespace, so no part of it is writable for commands.
    Returns a descriptor through which the init alone can write.
    """
    proc = syscalls.clone_tree("/proc")
    syscalls.restrict_mount("/proc", syscalls.MOUNT_ATTR_RDONLY, recursive=False)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    write_to("self/setgroups", "deny", proc)
    for kind in ("gid_map", "uid_map"):
        write_to(f"self/{kind}", f"{layout.INNER_ID} {layout.INNER_ID} 1", proc)
    return proc


def refresh_volatile(namespace: int, folders: Mapping[str, int], own: int, saved: Mapping[str, str]) -> None:
    """Mount `folders` (path -> size) anew in the mount `namespace`, and come back to the `own` one.

    For the zygote, while nothing but its init lives in that sandbox.
    """
    syscalls.setns(namespace, syscalls.CLONE_NEWNS)
    try:
        for folder, size in folders.items():
            syscalls.detach(folder)
            mount_volatile(folder, size, saved)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNS)


def end_all() -> None:
    """Kill and reap everything in the sandbox but its init, which must be the caller."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)

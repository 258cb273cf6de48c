"""What the host gives to boxes: user ids, and copies of its own files. Needs root."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_goat.sandbox.local import syscalls

FIRST_ID, IDS = 2_000_000, 65_536
"""User and group ids of the host that are a box's 0 to 65535. Nobody should have them."""

_SYS_MOUNT_SETATTR = 442
_MOUNT_ATTR_IDMAP = 0x100000
"""include/uapi/linux/mount.h"""


def obstacle() -> str:
    """Why there can be no real sandboxes here; "" when there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "sandboxes of the Modal test server need Linux and root: they have users of their own"
    limit = Path("/proc/sys/user/max_user_namespaces")
    if not limit.exists() or int(limit.read_text()) == 0:
        return (
            "sandboxes of the Modal test server need user namespaces: sysctl user.max_user_namespaces=10000"
        )
    return ""


def map_ids(pid: int) -> int:
    """Map the ids of the user namespace that process `pid` has entered. Returns a descriptor of it."""
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{kind}").write_text(f"0 {FIRST_ID} {IDS}")
    return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def system_tree(path: str, namespace: int) -> int:
    """A descriptor of a read-only copy of the host's `path`, whose files are those of root inside.

    Where the file system cannot tell each side its own owner, they are nobody's inside, and so root's there
    to read alone.
    """
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    tree = syscalls.clone_tree(path)
    try:
        _set_attributes(tree, attributes, namespace)
    except OSError:
        syscalls.restrict_mount(tree, attributes, recursive=True)
    return tree


def volume_tree(folder: Path, namespace: int, *, read_only: bool) -> int:
    """A descriptor of the host's `folder`, in which root inside acts as root does outside.

    Raises `OSError` where the file system cannot do that.
    """
    tree = syscalls.clone_tree(str(folder))
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    try:
        _set_attributes(tree, attributes | (syscalls.MOUNT_ATTR_RDONLY if read_only else 0), namespace)
    except OSError:
        os.close(tree)
        raise
    return tree


def device_trees(names: Sequence[str]) -> list[int]:
    return [syscalls.clone_tree(f"/dev/{name}") for name in names]


def _set_attributes(tree: int, attributes: int, namespace: int) -> None:
    """mount_setattr(2) with an id map, which changes the whole copy or nothing."""
    wanted = struct.pack("=QQQQ", attributes | _MOUNT_ATTR_IDMAP, 0, 0, namespace)
    flags = ctypes.c_uint(syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE)
    done = syscalls.libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR), tree, b"", flags, wanted, ctypes.c_size_t(len(wanted))
    )
    syscalls.checked(done, "mount_setattr")

"""Kernel calls that not every Python has a name for: constants and thin checked wrappers over ctypes.

A Python built for old systems knows no process descriptors and no memory files, whatever the kernel knows.

Numbers and flags are those of the kernel's own headers (include/uapi/linux: mount.h, sched.h, prctl.h).
System calls from number 424 on have the same number on every architecture.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
from fcntl import ioctl

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_PIDFD_OPEN = 434
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MEMFD_CREATE = {"x86_64": 319, "aarch64": 279}
_MFD_CLOEXEC = 1
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """`result` of a C call; raises `OSError` saying `what` failed when it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *args: object) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *args), what)


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    args = [ctypes.c_ulong(number) for number in (value, third, 0, 0)]
    return checked(libc.prctl(option, *args), f"prctl {option}")


def unshare(flags: int) -> None:
    checked(libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    checked(libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    done = libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    checked(done, f"mount {kind or 'bind'} on {target}")


def remount(target: str, flags: int, options: str) -> None:
    """Change the options of the file system that is mounted at `target`."""
    mount("none", target, "", MS_REMOUNT | flags, options)


def detach(target: str) -> None:
    """Unmount `target` and what is mounted below it."""
    checked(libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _syscall("pivot_root", number, os.fsencode(new), os.fsencode(old))


def clone_tree(path: str) -> int:
    """A file descriptor of a detached copy of what is mounted at and below `path` (Linux 5.2)."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    return _syscall(f"open_tree {path}", _SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags))


def attach_tree(tree: int, target: str) -> None:
    """Mount a detached copy at `target`. The descriptor stays open."""
    _syscall(
        f"move_mount to {target}",
        _SYS_MOVE_MOUNT,
        tree,
        b"",
        AT_FDCWD,
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def restrict_mount(where: int | str, attributes: int, *, recursive: bool) -> None:
    """Add `attributes` to a mount, given by path or by descriptor (Linux 5.12)."""
    at, path = (AT_FDCWD, os.fsencode(where)) if isinstance(where, str) else (where, b"")
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    _syscall("mount_setattr", _SYS_MOUNT_SETATTR, at, path, ctypes.c_uint(flags), wanted, ctypes.c_size_t(32))


def empty_bounding_set() -> None:
    """Let no program that this process becomes gain a capability, where the process may say so."""
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == -1:
            break  # the kernel knows no more of them, or we are nobody


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    checked(libc.capset(header, bytes(24)), "capset")


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, readable when that has ended (Linux 5.3)."""
    return _syscall(f"pidfd_open {pid}", _SYS_PIDFD_OPEN, pid, 0)


def pidfd_kill(pidfd: int) -> None:
    """Kill the process of a descriptor; it may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        _syscall("pidfd_send_signal", _SYS_PIDFD_SEND_SIGNAL, pidfd, signal.SIGKILL, None, 0)


def memory_file(name: str) -> int:
    """A descriptor of an empty file that lives in memory alone."""
    return _syscall("memfd_create", _SYS_MEMFD_CREATE[os.uname().machine], name.encode(), _MFD_CLOEXEC)


def loopback_up() -> None:
    """Bring `lo` up in the present network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        (flags,) = struct.unpack_from("=h", ioctl(sock, _SIOCGIFFLAGS, struct.pack("=16sh22x", b"lo", 0)), 16)
        ioctl(sock, _SIOCSIFFLAGS, struct.pack("=16sh22x", b"lo", flags | _IFF_UP))

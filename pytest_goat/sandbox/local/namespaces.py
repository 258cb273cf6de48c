"""Tier `ns`: which processes there are, what each unshares, and what each gives up.

Three kinds of process share the work, each with less than the one before:

* the *keeper* has the harness's file identity and sees the host's tree, inside an own user namespace. It
  hands out read-only copies of host trees as descriptors, and does nothing else;
* the *zygote* is process 1 of an outer pid namespace. It has an unused user id, and for a root only the
  template: a minimal read-only system. It forks the inits, and mounts in their mount namespaces what they ask
  for, for they cannot;
* the *init* of each sandbox is process 1 of the sandbox's own pid namespace, with own mount, network and IPC
  namespaces. Once these are furnished it enters a user namespace that owns none of them and gives up every
  capability: nothing in a sandbox has any privilege, and capabilities won there would be worth nothing. The
  kernel counts processes by user namespace too, so RLIMIT_NPROC holds for each sandbox alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from pytest_goat.sandbox.local import layout, syscalls


def enter_user_namespace(host_id: int) -> None:
    """Enter a user namespace whose one user, `layout.INNER_ID`, is `host_id` outside.

    The maps of another id than the own have to be written from outside, by a helper that stays there.
    """
    if host_id == os.geteuid():
        gid = os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"{layout.INNER_ID} {gid} 1")
        _write("/proc/self/uid_map", f"{layout.INNER_ID} {host_id} 1")
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
        raise PermissionError(f"write uid_map: user {host_id} cannot be mapped")


def _map_parent(ready: int, host_id: int) -> int:
    if not os.read(ready, 1):
        return 1
    try:
        for kind in ("gid_map", "uid_map"):
            _write(f"/proc/{os.getppid()}/{kind}", f"{layout.INNER_ID} {host_id} 1")
    except OSError:
        return 1
    return 0


def _write(path: str, text: str, at: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"write {path}: {error.strerror}") from error
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
    socket.sethostname(layout.HOSTNAME)


def become_inner_user() -> None:
    """Take the one id that the user namespace has, and keep the capabilities that count inside it only."""
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setresgid(*[layout.INNER_ID] * 3)
    os.setresuid(*[layout.INNER_ID] * 3)
    # A change of identity hides /proc/self from ourselves; nobody else is there to be hidden from yet.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def fork_init(own_pid_namespace: int) -> int:
    """Fork process 1 of a new pid namespace; returns as `os.fork` does."""
    syscalls.unshare(syscalls.CLONE_NEWPID)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            syscalls.setns(own_pid_namespace, syscalls.CLONE_NEWPID)
    return pid


def isolate_init() -> None:
    """Give a freshly forked init namespaces of its own, with lo."""
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC)
    syscalls.loopback_up()


def enter_command_namespace() -> int:
    """Leave the namespaces' owner behind: for the user namespace of commands, with /proc read-only.

    /proc/sys and /proc/sysrq-trigger reach beyond every namespace, so no part of it is writable for commands.
    Returns a descriptor through which the init alone can write to /proc.
    """
    proc = syscalls.clone_tree("/proc")
    syscalls.restrict_mount("/proc", syscalls.MOUNT_ATTR_RDONLY, recursive=False)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    _write("self/setgroups", "deny", proc)
    for kind in ("gid_map", "uid_map"):
        _write(f"self/{kind}", f"{layout.INNER_ID} {layout.INNER_ID} 1", proc)
    return proc


def prefer_to_kill(pid: int, proc: int) -> None:
    """Let the kernel end process `pid`, before the init or anything of the host, when memory runs out."""
    _write(f"{pid}/oom_score_adj", "1000", proc)


def end_all() -> None:
    """Kill and reap everything in the sandbox but its init, which must be the caller."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)

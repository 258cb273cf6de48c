"""The zygote of boxes: `python -I -S box_zygote.py FD`. It forks the init of each box.

Three processes deep, each dies with the one before: this one, which the server started; its child, process 1
of a pid namespace; and the inits, each process 1 of a pid namespace below that one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys

# The standard library stays first: nothing that is installed beside this project can shadow it.
sys.path.append(__file__.rsplit("/", 3)[0])

from pytest_goat.sandbox.local import namespaces, syscalls, wire
from tests.modal_server import box_init, box_mounts


def main(control: socket.socket) -> None:
    """Enter a user namespace, wait until the server has mapped it, and serve until the server is gone."""
    _die_with_parent()
    os.umask(0o022)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    wire.send(control, {})
    message, fds = wire.receive(control)  # the ids are mapped now
    _become_root()
    syscalls.unshare(
        syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWCGROUP
    )
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    child = os.fork()
    if child:
        control.close()
        for fd in fds:
            os.close(fd)
        os.waitpid(child, 0)
        return
    _die_with_parent()
    devices = len(fds) - message["trees"]
    box_mounts.enter_template(fds[:-devices], fds[-devices:])
    _serve(control)


def _die_with_parent() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _become_root() -> None:
    """Take the ids of root inside, and keep the capabilities that count there only."""
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    _die_with_parent()  # a change of identity had cleared it


def _serve(control: socket.socket) -> None:
    """Fork an init for every socket that the server sends."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    gc.freeze()
    wire.send(control, {})
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while poll.poll():
        _, (box,) = wire.receive(control)
        try:
            pid = namespaces.fork_init(own)
        except OSError as error:
            with socket.socket(fileno=box) as sock:
                wire.send(sock, {"error": str(error)})
            continue
        if pid == 0:
            control.close()
            os.close(own)
            box_init.become(socket.socket(fileno=box))
        os.close(box)


if __name__ == "__main__":
    with contextlib.suppress(EOFError):  # the server is gone
        main(socket.socket(fileno=int(sys.argv[1])))

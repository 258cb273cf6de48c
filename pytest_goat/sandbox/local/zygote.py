"""Main loops of the launcher: the keeper, and the zygote that forks an init for every sandbox."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from collections.abc import Callable

from pytest_goat.sandbox.local import init, namespaces, seccomp, syscalls, wire
from pytest_goat.sandbox.local.cell_ns import NamespaceCell


def main(keeper_fd: int, zygote_fd: int) -> None:
    """Serve the harness on two sockets until it is gone; takes every sandbox with it."""
    harness = os.pidfd_open(os.getppid())
    keeper = socket.socket(fileno=keeper_fd)
    zygote = socket.socket(fileno=zygote_fd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the harness says when it is over
    try:
        settings, _ = wire.receive(keeper)
        _run_namespaces(settings, harness, keeper, zygote)
    except EOFError:
        pass
    except Exception as error:
        wire.send(zygote, {"error": str(error), "kind": type(error).__name__})


def _run_namespaces(
    settings: wire.Message, harness: int, keeper: socket.socket, zygote: socket.socket
) -> None:
    program = seccomp.build(memory_files=settings["memory_files"])
    namespaces.enter_user_namespace(settings["host_id"])
    namespaces.leave_host()
    trees = namespaces.host_trees(settings["trees"])
    pid = os.fork()
    if pid == 0:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        keeper.close()
        os.close(harness)
        _zygote(settings, trees, program, zygote)
        os._exit(0)
    zygote.close()
    for tree in trees.values():
        os.close(tree)
    _keep(keeper, harness, os.pidfd_open(pid))


def _keep(keeper: socket.socket, harness: int, zygote: int) -> None:
    """Hand out host trees until harness or zygote has ended."""
    poll = select.poll()
    for fd in (keeper.fileno(), harness, zygote):
        poll.register(fd, select.POLLIN)
    while {fd for fd, _ in poll.poll()} == {keeper.fileno()}:
        message, _ = wire.receive(keeper)
        try:
            tree = namespaces.host_tree(message["tree"])
        except OSError as error:
            wire.send(keeper, {"error": str(error)})
        else:
            wire.send(keeper, {}, [tree])
            os.close(tree)


def _zygote(settings: wire.Message, trees: dict[str, int], program: bytes, zygote: socket.socket) -> None:
    try:
        namespaces.become_inner_user()
        saved = namespaces.enter_template(trees, settings["links"])
        for tree in trees.values():
            os.close(tree)
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        wire.send(zygote, {})
        gc.freeze()
        _spawn_on_request(zygote, lambda: namespaces.fork_init(own), lambda: NamespaceCell(saved, program))
    except EOFError:
        pass
    except Exception as error:
        wire.send(zygote, {"error": str(error), "kind": type(error).__name__})


def _spawn_on_request(
    zygote: socket.socket, fork: Callable[[], int], make_cell: Callable[[], init.Cell]
) -> None:
    """Fork an init for every socket that the harness sends, until it hangs up."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    while True:
        _, (control_fd, *others) = wire.receive(zygote)
        if fork() == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                zygote.close()
                init.serve(socket.socket(fileno=control_fd), make_cell)
            finally:
                os._exit(0)
        for fd in (control_fd, *others):
            os.close(fd)

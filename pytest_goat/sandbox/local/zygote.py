"""Main loops of the launcher: the keeper, and the zygote that forks an init for every sandbox."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket

from pytest_goat.sandbox.local import init, mounts, namespaces, seccomp, syscalls, wire, zygote_plain
from pytest_goat.sandbox.local.cell_ns import NamespaceCell


def main(keeper_fd: int, zygote_fd: int) -> None:
    """Serve the harness on two sockets until it is gone; takes every sandbox with it."""
    harness = syscalls.pidfd_open(os.getppid())
    keeper = socket.socket(fileno=keeper_fd)
    zygote = socket.socket(fileno=zygote_fd)
    os.umask(0o022)
    try:
        settings, _ = wire.receive(keeper)
        if settings["engine"] == "ns":
            _run_namespaces(settings, harness, keeper, zygote)
        else:
            zygote_plain.run(settings, harness, zygote)
    except EOFError:
        pass
    except Exception as error:
        wire.send(zygote, {"error": str(error)})


def _run_namespaces(
    settings: wire.Message, harness: int, keeper: socket.socket, zygote: socket.socket
) -> None:
    namespaces.enter_user_namespace(settings["host_id"])
    namespaces.leave_host()
    trees = mounts.host_trees(settings["trees"])
    pid = os.fork()
    if pid == 0:
        keeper.close()
        os.close(harness)
        try:
            _Zygote(settings, trees, zygote).serve()
        except EOFError:
            pass
        except Exception as error:
            wire.send(zygote, {"error": str(error)})
        finally:
            os._exit(0)
    zygote.close()
    for tree in trees.values():
        os.close(tree)
    _keep(keeper, harness, syscalls.pidfd_open(pid))


def _keep(keeper: socket.socket, harness: int, zygote: int) -> None:
    """Hand out host trees until harness or zygote has ended."""
    poll = select.poll()
    for fd in (keeper.fileno(), harness, zygote):
        poll.register(fd, select.POLLIN)
    while {fd for fd, _ in poll.poll()} == {keeper.fileno()}:
        message, _ = wire.receive(keeper)
        try:
            tree = mounts.host_tree(message["tree"])
        except OSError as error:
            wire.send(keeper, {"error": str(error)})
        else:
            wire.send(keeper, {}, [tree])
            os.close(tree)


class _Zygote:
    """Process 1 of the outer pid namespace: when it ends, the kernel ends every sandbox."""

    def __init__(self, settings: wire.Message, trees: dict[str, int], harness: socket.socket) -> None:
        self._harness, self._settings = harness, settings
        self._program = seccomp.build(memory_files=settings["memory_files"])
        namespaces.become_inner_user()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of identity would clear it
        self._kept = mounts.enter_template(trees, settings["links"])
        for tree in trees.values():
            os.close(tree)
        self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._inits, self._for_inits = wire.pair()

    def serve(self) -> None:
        """Fork an init for every socket that the harness sends, and serve the inits, until it hangs up."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
        gc.freeze()
        wire.send(self._harness, {})
        poll = select.poll()
        poll.register(self._harness, select.POLLIN)
        poll.register(self._inits, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._harness.fileno():
                    self._spawn()
                else:
                    self._change()

    def _spawn(self) -> None:
        _, fds = wire.receive(self._harness)
        try:
            pid = namespaces.fork_init(self._pids)
        except OSError as error:
            init.refuse(fds, error)
            return
        if pid == 0:
            foreign = [self._harness.detach(), self._inits.detach(), self._pids, self._mounts]
            init.become(foreign, fds, self._make_cell)
        for fd in fds:
            os.close(fd)

    def _make_cell(self) -> NamespaceCell:
        return NamespaceCell(self._for_inits, self._settings, self._kept, self._program)

    def _change(self) -> None:
        """Mount what an init asks for, and tell it of a failure; it waits for the pipe to be closed."""
        wanted, (namespace, tell, *trees) = wire.receive(self._inits)
        try:
            mounts.change(namespace, self._mounts, mounts.Change(**wanted), trees, self._kept)
        except OSError as error:
            os.write(tell, str(error).encode())
        finally:
            for fd in (namespace, tell, *trees):
                os.close(fd)

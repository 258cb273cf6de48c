"""The cells of the tiers without namespaces: `landlock`, and `none`.

The init stays outside of what confines the commands and is their subreaper: what a command leaves behind
becomes its child. Folders of the host take the place of mounts.
"""

from __future__ import annotations

# Importing pathlib would double the time that the launcher takes to start.
# ruff: noqa: PTH102, PTH116, PTH119, PTH120, PTH123, PTH208
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence

from pytest_goat.sandbox.local import landlock, layout, limits, seccomp, syscalls, trees, wire

_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_VOLATILE = (layout.HOME, layout.TMP)
_ETC = tuple(f"/etc/{name}" for name in layout.ETC)


class PlainCell:
    """Commands on the host itself, in a private folder, as user `command_id`.

    `program` is the system call filter; None: nothing confines the commands (tier `none`).
    """

    watch = 0.1
    """A look takes in every process of the machine, and a root's are not counted by the kernel."""

    def __init__(self, settings: wire.Message, command_id: int, program: bytes | None) -> None:
        self._settings, self._id, self._program = settings, command_id, program
        self._limits: wire.Message = {}
        self._bounds: wire.Message = {}
        self._fresh: dict[str, tuple[int, int]] = {}
        self._sources: list[str] = []
        self._port = 0
        self._root = ""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    def open(self, message: wire.Message, fds: Sequence[int]) -> tuple[wire.Message, list[int]]:
        self._limits, self._sources = message["limits"], message["sources"]
        # Where commands have the user's own id, all that the user runs counts; the init watches the tree too.
        others = _threads_of(self._id) if self._id == os.geteuid() else 0
        self._bounds = {**self._limits, "processes": self._limits["processes"] + others}
        self._root = f"{self._settings['temporary']}/{os.urandom(8).hex()}"
        for source in self._sources:
            self._check_open(source)
        for folder in ("", layout.WORKDIR, layout.OUTDIR, os.path.dirname(layout.HOME), *_VOLATILE):
            self._make(folder)
        given = [os.open(self._root, trees.FOLDER), syscalls.pidfd_open(os.getpid())]
        if message["listen"]:
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            self._port = listener.getsockname()[1]
            given.append(listener.detach())
        return {"root": self._root, "owner": self._id}, given

    def _check_open(self, source: str) -> None:
        """Commands of another user id than the harness's must be able to get at what is shown to them."""
        folder = os.path.realpath(source)
        while self._id != os.geteuid() and folder != "/":
            folder = os.path.dirname(folder)
            if not os.stat(folder).st_mode & 0o001:
                raise PermissionError(
                    f"{source}: {folder} is closed to other users; mend: chmod o+x {folder}"
                )

    def preexec(self) -> None:
        limits.apply(self._bounds)
        if self._program is None:
            return
        syscalls.empty_bounding_set()
        if self._id != os.geteuid():
            os.setgroups([])
            os.setresgid(*[self._id] * 3)
            os.setresuid(*[self._id] * 3)
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        folders = [self._root + folder for folder in (layout.WORKDIR, layout.OUTDIR, layout.HOME, layout.TMP)]
        readable = [*self._settings["trees"], *self._settings["links"], *_ETC, *self._sources]
        landlock.restrict(readable, self._settings["listed"], [*folders, *_DEVICES], self._port)
        seccomp.install(self._program)

    def started(self, pid: int) -> None:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write("1000")

    def refresh(self) -> None:
        for folder in _VOLATILE:
            if trees.state(self._root + folder) != self._fresh[folder]:
                _remove(self._root + folder)
                self._make(folder)

    def _make(self, folder: str) -> None:
        path = self._root + folder
        os.mkdir(path, 0o700)
        os.chown(path, self._id, self._id if self._id != os.geteuid() else -1)
        self._fresh[folder] = trees.state(path)

    def exceeded(self) -> str:
        tree = list(_descendants())
        if len(tree) > self._limits["processes"]:
            return "processes"
        watched = self._limits["watch_memory"]
        return "memory" if watched and sum(_resident(pid) for pid in tree) > watched else ""

    def end_all(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            end_descendants()  # some are still there

    def leave(self) -> None:
        self.end_all()
        if self._root:
            _remove(self._root)


def _remove(path: str) -> None:
    at = os.open(os.path.dirname(path), trees.FOLDER)
    trees.remove(at, os.path.basename(path))
    os.close(at)


def end_descendants() -> None:
    """Kill and reap everything that descends from this process, which must be a subreaper.

    All are stopped first: what is stopped forks no more, so that a look finds them all in the end.
    """
    stopped: set[int] = set()
    while new := set(_descendants()) - stopped:
        _signal(new, signal.SIGSTOP)
        stopped |= new
    _signal(stopped, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants() -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, (_, parent, _) in _processes():
        children.setdefault(parent, []).append(pid)
    todo = [os.getpid()]
    while todo:
        found = children.get(todo.pop(), [])
        yield from found
        todo += found


def _threads_of(user: int) -> int:
    return sum(threads for _, (owner, _, threads) in _processes() if owner == user)


def _processes() -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Every process of the machine that is alive: pid, (user, parent, threads)."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name, in parentheses, may hold anything: what counts comes after the last of them.
                fields = file.read().rpartition(b")")[2].split()
                user = os.fstat(file.fileno()).st_uid
        except OSError:
            continue  # it has ended
        if fields[0] not in (b"Z", b"X"):
            yield int(name), (user, int(fields[1]), int(fields[17]))


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended

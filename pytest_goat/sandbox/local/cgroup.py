"""Memory of a whole process tree, bounded by a control group: where the harness may make one.

Both versions of the kernel interface: Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Interface:
    limit: str
    swap: str
    swap_unbounded: str
    swap_includes_memory: bool
    """The bound on swap is one on memory and swap together, and must never be below that on memory."""
    events: str
    """The file with a line `oom_kill N`."""


_TRIES, _PAUSE = 400, 0.005
"""How often, and how many seconds apart, a group is tried to be removed that still has members."""
_V1 = _Interface("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "-1", True, "memory.oom_control")
_V2 = _Interface("memory.max", "memory.swap.max", "max", False, "memory.events")


class MemoryGroup:
    """The control group of one sandbox."""

    def __init__(self, path: Path, interface: _Interface) -> None:
        self._path, self._interface = path, interface
        self._limit = self._kills = 0
        path.mkdir()

    def open_members(self) -> int:
        """A descriptor into which a process writes 0 to become a member. The caller closes it."""
        return os.open(self._path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def limit(self, memory: int) -> None:
        """Bound the memory of all members to so many bytes, and let them swap nothing."""
        if memory == self._limit:
            return
        self._limit_swap(self._interface.swap_unbounded)
        (self._path / self._interface.limit).write_text(str(memory))
        self._limit_swap(str(memory) if self._interface.swap_includes_memory else "0")
        self._limit = memory

    def _limit_swap(self, wanted: str) -> None:
        with contextlib.suppress(OSError):  # no swap accounting, no swap to bound
            (self._path / self._interface.swap).write_text(wanted)

    def killed(self) -> bool:
        """Whether the kernel has killed members for the limit since the last look."""
        before = self._kills
        for line in (self._path / self._interface.events).read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                self._kills = int(count)
        return self._kills > before

    def remove(self) -> bool:
        """Remove the group; False while a member is still about to disappear."""
        try:
            self._path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class MemoryGroups:
    """Groups below one folder.

    They are used again and again: to make or remove one can wait for whoever moves a process anywhere on the
    machine, and that is too long for an event loop.
    """

    def __init__(self, parent: Path, interface: _Interface) -> None:
        self._parent, self._interface = parent, interface
        self._free: list[MemoryGroup] = []

    @classmethod
    def probe(cls) -> MemoryGroups | None:
        """Groups of this machine, or None where none can be made: tried, not guessed."""
        for parent, interface in _candidates():
            _sweep(parent)
            groups = cls(parent, interface)
            try:
                group = groups.take()
            except OSError:
                continue
            try:
                group.limit(1 << 30)
                os.close(group.open_members())
                group.killed()
            except OSError:
                continue
            finally:
                group.remove()
            return groups
        return None

    def take(self) -> MemoryGroup:
        """A group without members. Raises `OSError` when it cannot be made."""
        if self._free:
            return self._free.pop()
        return MemoryGroup(self._parent / f"goat-{os.getpid()}-{os.urandom(6).hex()}", self._interface)

    def give_back(self, group: MemoryGroup) -> None:
        """`group` has no members any more."""
        group.killed()
        self._free.append(group)

    async def close(self) -> None:
        """Remove the groups, when their last members have disappeared; give up after a while."""
        for _ in range(_TRIES):
            self._free = [group for group in self._free if not group.remove()]
            if not self._free:
                return
            await asyncio.sleep(_PAUSE)


def _sweep(parent: Path) -> None:
    """Remove the groups of harnesses that were killed: nobody is in them any more."""
    for path in parent.glob("goat-*-*"):
        pid = path.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                path.rmdir()


def _candidates() -> list[tuple[Path, _Interface]]:
    """Folders in which groups could perhaps be made: below the own group, and at the top for version 2.

    A version 2 group with members cannot hand memory control to groups below it; the top can.
    """
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        root, mounted = fields.split()[3:5]
        kind, _, options = tail.split()[:3]
        if kind == "cgroup" and "memory" in options.split(","):
            found.append((_below(mounted, root, own.get("memory", "/")), _V1))
        elif kind == "cgroup2" and "" in own:
            found += [(_below(mounted, root, own[""]), _V2), (Path(mounted), _V2)]
    return found


def _below(mounted: str, root: str, group: str) -> Path:
    inside = group.removeprefix(root.rstrip("/")) if group.startswith(root) else group
    return Path(mounted) / inside.strip("/")

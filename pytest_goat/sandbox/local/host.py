"""Which parts of the host every sandbox sees, read-only: the system and the Python that runs pytest."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest_goat
from pytest_goat.errors import UserError

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "debian_version", "java-*", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release", "perl", "pki",
    "protocols", "services", "ssl", "terminfo", "timezone",
)  # fmt: skip
"""Of /etc (glob patterns): what programs need and no secret. Users, hosts and name service are our own."""
_MAX_TURNS = 40
"""Symbolic links on one way; the kernel follows as many."""


@dataclass(slots=True)
class HostView:
    """Paths of the host that appear inside at the same place."""

    trees: list[str] = field(default_factory=list)
    """Files and folders; none lies below another."""
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic link -> where it points."""
    import_path: str = ""
    """Folder outside the Python environment from which the environment imports this project; mostly ""."""

    def add(self, path: str) -> None:
        """Show what is at `path`, and every symbolic link on the way to it."""
        links, real = _follow(path)
        for link, target in links.items():
            if not self.covers(link):
                self.links[link] = target
        if real and not self.covers(real) and Path(real).exists():
            self.trees = [tree for tree in self.trees if not _below(tree, real)]
            self.links = {link: target for link, target in self.links.items() if not _below(link, real)}
            self.trees.append(real)

    def covers(self, path: str) -> bool:
        return any(_below(path, tree) for tree in self.trees)


def view() -> HostView:
    """What this host shows. Raises `UserError` when that would be everything."""
    shown = HostView()
    shown.add("/usr")
    for name in _SYSTEM:
        shown.add(f"/{name}")
    for pattern in _ETC:
        for path in sorted(Path("/etc").glob(pattern)):
            shown.add(str(path))
    for prefix in (sys.prefix, sys.base_prefix):
        _refuse_too_much(prefix)
        shown.add(prefix)
    shown.add(sys.executable)
    # `python -m pytest` loads this plugin inside too, from wherever it is installed.
    package = Path(pytest_goat.__file__).resolve().parent
    if not shown.covers(str(package)):
        shown.import_path = str(package.parent)
        shown.add(str(package))
    return shown


def _refuse_too_much(prefix: str) -> None:
    try:
        home = str(Path.home().resolve())
    except RuntimeError:  # a user without a home: the folder of everything is too much all the same
        home = "/"
    if _below(home, str(Path(prefix).resolve())):
        raise UserError(
            f"local sandbox: the Python environment is {prefix} itself,\n  and sandboxes see that folder.\n"
            "  Run pytest from a virtual environment in a folder of its own: python -m venv .venv"
        )


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _follow(path: str) -> tuple[dict[str, str], str]:
    """Every symbolic link met on the way along `path`, and where the way ends; "" when it goes in circles."""
    links: dict[str, str] = {}
    todo = list(reversed(Path(path).absolute().parts[1:]))
    real, turns = "", 0
    while todo:
        step = os.path.normpath(f"{real}/{todo.pop()}")
        if not Path(step).is_symlink():
            real = step if step != "/" else ""
            continue
        turns += 1
        if turns > _MAX_TURNS:
            return {}, ""
        links[step] = target = str(Path(step).readlink())
        if target.startswith("/"):
            real = ""
        todo += [part for part in reversed(Path(target).parts) if part != "/"]
    return links, real or "/"

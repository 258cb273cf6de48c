"""Builds goat-eval into one file: `python -m pytest_goat.agent.bundle OUT`.

The file is a zip that Python runs (https://docs.python.org/3/library/zipapp.html), and that runs by itself
where there is a `python3`. It holds every module twice: compiled by the Python that builds it, so that the
same version starts without compiling (30 ms less), and as source, which any other version from 3.9 on falls
back to.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import sys
import zipfile
from pathlib import Path

from pytest_goat.errors import UserError

_PACKAGE = Path(__file__).parent.parent / "goat_eval"
_SHEBANG = b"#!/usr/bin/env python3\n"
_START = b"from goat_eval.__main__ import start\n\nstart()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED_HASH = (1).to_bytes(4, "little")
"""Flags of a .pyc that is never compared with its source (PEP 552): sources in the zip do not change."""
_WITHOUT_REFERENCES = 2
"""A marshal version that writes the same bytes for the same code, whatever else the process has imported."""


def build(target: Path) -> str:
    """Write the executable `target`; the hash of its sources, 12 hex digits.

    The same sources and Python give the same bytes. Raises `UserError` when `target` cannot be written.
    """
    sources = _sources()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.part")
        with partial.open("wb") as file:
            file.write(_SHEBANG)
            with zipfile.ZipFile(file, "w") as archive:
                for name, source in sources.items():
                    _add(archive, name, source)
                    _add(archive, f"{name}c", _compiled(name, source))
        partial.chmod(0o755)
        partial.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write the agent to {target}: {error.strerror}; give another place"
        ) from error
    return _digest(sources)


def digest() -> str:
    """What `build` would return."""
    return _digest(_sources())


def _sources() -> dict[str, bytes]:
    found = {path.relative_to(_PACKAGE).as_posix(): path.read_bytes() for path in _PACKAGE.rglob("*.py")}
    return {"__main__.py": _START, **{f"goat_eval/{name}": found[name] for name in sorted(found)}}


def _digest(sources: dict[str, bytes]) -> str:
    summed = hashlib.sha256()
    for name, source in sources.items():
        summed.update(f"{name}\0{len(source)}\0".encode())
        summed.update(source)
    return summed.hexdigest()[:12]


def _compiled(name: str, source: bytes) -> bytes:
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code, _WITHOUT_REFERENCES)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # Stored, not deflated: to inflate costs more than to read.
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def main() -> int:
    """`python -m pytest_goat.agent.bundle OUT`; the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m pytest_goat.agent.bundle OUT\n")
        return 2
    try:
        sys.stdout.write(f"{sys.argv[1]} {build(Path(sys.argv[1]))}\n")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Read, Write and Edit: one file at a time, by its absolute path."""

from __future__ import annotations

import os
import stat

from ..errors import ToolError
from ..text import utf8
from .base import flag, number, optional_text, required_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Arguments

DEFAULT_LINES = 2000
LINE_LENGTH = 2000
"""Characters of a line that are shown."""
SHOWN = 100_000
"""Characters that one Read shows."""
MAX_PAGES = 20


def read(cwd: str, arguments: Arguments) -> str:
    """The lines of a file, numbered. Raises `ToolError`."""
    path = _path(cwd, arguments)
    if path.lower().endswith(".pdf"):
        return _read_pdf(path, optional_text(arguments, "pages"))
    offset = number(arguments, "offset") or 1
    limit = number(arguments, "limit") or DEFAULT_LINES
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory; use Glob or ls" if os.path.isdir(path) else "no regular file"
            raise ToolError(f"{path} is {kind}")
        with open(path, "rb") as file:
            if b"\0" in file.read(8192):
                size = os.path.getsize(path)
                raise ToolError(f"{path} is a binary file of {size} bytes; use Bash to look into it")
        return _numbered(path, offset, limit)
    except OSError as error:
        raise _failure("read", path, error) from error


def write(cwd: str, arguments: Arguments) -> str:
    """Make or replace a file, its folders too. Raises `ToolError`."""
    path = _path(cwd, arguments)
    content = utf8(required_text(arguments, "content", empty=True))
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode())
    except OSError as error:
        raise _failure("write", path, error) from error
    lines = content.count("\n") + (bool(content) and not content.endswith("\n"))
    return f"File written successfully at: {path} ({lines} lines)"


def edit(cwd: str, arguments: Arguments) -> str:
    """Replace an exact text in a file, byte for byte elsewhere. Raises `ToolError`."""
    path = _path(cwd, arguments)
    old = utf8(required_text(arguments, "old_string", empty=True))
    new = utf8(required_text(arguments, "new_string", empty=True))
    if not old:
        raise ToolError("old_string must not be empty; Write makes a whole file")
    if old == new:
        raise ToolError("old_string and new_string must be different")
    try:
        with open(path, "rb") as file:
            content = file.read()
        count = content.count(old.encode())
        if count == 0:
            raise ToolError("old_string not found in file")
        if count > 1 and not flag(arguments, "replace_all"):
            raise ToolError(
                f"old_string found {count} times in file. Use replace_all or provide a more unique string."
            )
        with open(path, "wb") as file:
            file.write(content.replace(old.encode(), new.encode()))
    except OSError as error:
        raise _failure("edit", path, error) from error
    return f"Replaced {count} occurrence(s) in {path}"


def _path(cwd: str, arguments: Arguments) -> str:
    path = utf8(required_text(arguments, "file_path"))
    if not os.path.isabs(path):
        meant = os.path.normpath(os.path.join(cwd, path))
        raise ToolError(f"file_path must be an absolute path, such as {meant}")
    if "\0" in path:
        raise ToolError("file_path has a NUL character in it")
    return path


def _numbered(path: str, offset: int, limit: int) -> str:
    shown: list[str] = []
    size = total = 0
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for total, line in enumerate(file, 1):
            if total < offset or len(shown) == limit or size > SHOWN:
                continue
            line = line.rstrip("\r\n")
            if len(line) > LINE_LENGTH:
                line = f"{line[:LINE_LENGTH]} ... [line of {len(line)} characters cut]"
            shown.append(f"{total:6d}\t{line}")
            size += len(line)
    if not shown:
        return f"(no line {offset}: the file has {total} lines)" if total else "(empty file)"
    left = total - (offset + len(shown) - 1)
    if left:
        shown.append(f"... [{left} more lines; use offset {offset + len(shown)} to go on]")
    return "\n".join(shown)


def _read_pdf(path: str, pages: str) -> str:
    """The text of a PDF, by pdftotext: the standard library reads no PDF."""
    import subprocess

    first, last = _page_range(pages)
    argv = ["pdftotext", "-layout", "-f", str(first), "-l", str(last), path, "-"]
    try:
        done = subprocess.run(
            argv,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        raise ToolError(
            "reading a PDF needs pdftotext (poppler-utils), which is not installed here"
        ) from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"pdftotext took longer than 60 s; ask for fewer pages of {path}") from None
    if done.returncode:
        raise ToolError(f"pdftotext: {done.stderr.decode('utf-8', 'replace').strip()}")
    lines = done.stdout.decode("utf-8", "replace").rstrip("\f\n").replace("\f", "\n").split("\n")
    numbered = [f"{count:6d}\t{line[:LINE_LENGTH]}" for count, line in enumerate(lines, 1)]
    return "\n".join(numbered)[:SHOWN] if any(lines) else "(no text extracted from PDF)"


def _page_range(pages: str) -> tuple[int, int]:
    """The first and last page of "3" or "1-5"; the first pages when nothing is said."""
    if not pages.strip():
        return 1, MAX_PAGES
    first, dash, last = pages.partition("-")
    try:
        start = int(first)
        end = int(last) if dash else start
    except ValueError:
        raise ToolError(f'pages must be a page or a range such as "1-5", not "{pages}"') from None
    if not 1 <= start <= end:
        raise ToolError(f"invalid page range: {pages}")
    if end - start >= MAX_PAGES:
        raise ToolError(f"requested {end - start + 1} pages (max {MAX_PAGES} per request)")
    return start, end


def _failure(verb: str, path: str, error: OSError) -> ToolError:
    return ToolError(f"cannot {verb} {path}: {error.strerror or error}")

"""The six tools as the model sees them: names, texts and parameters."""

from __future__ import annotations

from .base import schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FILE_PATH = ("string", "Absolute path of the file")

_BASH = """Runs a command with bash and returns its output (stdout and stderr together).

- Each call is a new shell in the working directory; `cd` and variables do not carry over. stdin is empty.
- A command that exits with anything but 0 comes back as an error that shows the output and the exit code.
- `timeout` is in milliseconds: 120000 unless given, 600000 at most. A command that takes longer is killed \
with all that it started.
- Output beyond 30000 bytes is cut in the middle; the whole of it is kept in a file that is named.
- `run_in_background` returns at once and names the file that collects the output, which Read can show at \
any time. Use it for servers and long commands. Background commands are killed when you finish.
- For files, prefer Read, Write, Edit, Glob and Grep over cat, echo, sed, find and grep."""

_READ = """Reads a text file and returns its lines, each after its number and a tab.

- Without `offset` (the first line, from 1) and `limit`, the first 2000 lines. Lines beyond 2000 \
characters are cut.
- A PDF comes as text; `pages` picks some of them, such as "1-5", 20 at most.
- Folders are listed with Glob or ls, not with this."""

_WRITE = """Writes a file: makes it, with the folders on the way to it, or replaces all of its content.

To change a part of a file, use Edit."""

_EDIT = """Replaces a piece of text in a file.

- `old_string` must stand in the file exactly as given, blanks and line ends included, without the line \
numbers that Read shows, and only once: give enough text around it. `replace_all` replaces every \
occurrence.
- Everything else in the file stays as it is."""

_GLOB = """Finds files and folders by name: `*.py`, `src/**/*.ts`, `**/test_*`, `*.{js,ts}`.

`**` spans folders, `*` does not. Returns full paths, sorted by name, hidden ones too. `path` is where to \
look, the working directory unless given."""

_GREP = """Searches files for a regular expression.

- `path` is a file or a folder, the working directory unless given. `glob` ("*.js") and `type` ("py") \
narrow down which files are looked into. Hidden and binary files and what .gitignore names are passed \
over.
- `output_mode`: files_with_matches (paths, the default), content (the lines, with `context_lines`, \
`before_context` and `after_context` around them), or count (matches in each file).
- The syntax is Python's: write `\\{` for a brace, `(?i)` or `case_insensitive` to ignore case. With \
`multiline` a match may span lines, and `.` matches line ends.
- `head_limit` returns the first lines only."""


SPECS: dict[str, tuple[str, dict[str, Any], str]] = {
    "Bash": (
        _BASH,
        schema(
            ("command",),
            command=("string", "The command"),
            timeout=("integer", "Milliseconds that it may take, 600000 at most"),
            description=("string", "What the command does, in a few words"),
            run_in_background=("boolean", "Return at once and let it run"),
        ),
        "Runs a command with bash in the working directory.",
    ),
    "Edit": (
        _EDIT,
        schema(
            ("file_path", "old_string", "new_string"),
            file_path=_FILE_PATH,
            old_string=("string", "The text to replace"),
            new_string=("string", "The text to put in its place"),
            replace_all=("boolean", "Replace every occurrence (default false)"),
        ),
        "Replaces an exact piece of text in a file. It must be unique unless replace_all is true.",
    ),
    "Glob": (
        _GLOB,
        schema(
            ("pattern",),
            pattern=("string", "The glob pattern"),
            path=("string", "The folder to look in (default: the working directory)"),
        ),
        "Finds files by a glob pattern such as **/*.py.",
    ),
    "Grep": (
        _GREP,
        schema(
            ("pattern",),
            pattern=("string", "The regular expression"),
            path=("string", "The file or folder to search (default: the working directory)"),
            glob=("string", 'Only files whose name matches, such as "*.js"'),
            output_mode=("string", "content, files_with_matches or count"),
            case_insensitive=("boolean", "Ignore case"),
            show_line_numbers=("boolean", "Show line numbers with content (default true)"),
            after_context=("number", "Lines to show after each match"),
            before_context=("number", "Lines to show before each match"),
            context_lines=("number", "Lines to show around each match"),
            type=("string", "Only files of a type, such as py, js or go"),
            head_limit=("number", "Return only the first lines of the answer"),
            multiline=("boolean", "Let a match span lines"),
        ),
        "Searches files for a regular expression.",
    ),
    "Read": (
        _READ,
        schema(
            ("file_path",),
            file_path=_FILE_PATH,
            offset=("number", "The first line to read, from 1"),
            limit=("number", "How many lines to read"),
            pages=("string", 'Pages of a PDF, such as "3" or "1-5"'),
        ),
        "Reads a text file, with line numbers.",
    ),
    "Write": (
        _WRITE,
        schema(
            ("file_path", "content"),
            file_path=_FILE_PATH,
            content=("string", "The whole content of the file"),
        ),
        "Writes a whole file, replacing what is there.",
    ),
}
"""Name -> description, parameters, and the description for models that do better with little text."""

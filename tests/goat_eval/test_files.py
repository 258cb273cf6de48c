"""Read, Write and Edit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.goat_eval.errors import ToolError
from pytest_goat.goat_eval.tools import files
from tests.support.agent_run import AgentRunner
from tests.support.model_server import ToolCall


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.txt"


def read(path: Path, **arguments: Any) -> str:
    return files.read("/", {"file_path": str(path), **arguments})


def write(path: Path, content: str) -> str:
    return files.write("/", {"file_path": str(path), "content": content})


def edit(path: Path, old: str, new: str, **arguments: Any) -> str:
    return files.edit("/", {"file_path": str(path), "old_string": old, "new_string": new, **arguments})


def test_all_three_in_a_run(agent: AgentRunner) -> None:
    path = str(agent.work / "deep" / "er" / "a.txt")
    outputs = agent.call(
        ToolCall("Write", {"file_path": path, "content": "one\ntwo"}),
        ToolCall("Edit", {"file_path": path, "old_string": "two", "new_string": "2"}),
        ToolCall("Read", {"file_path": path}),
        ToolCall("Read", {"file_path": "/proc/nowhere"}),
    )
    assert outputs == [
        f"File written successfully at: {path} (2 lines)",
        f"Replaced 1 occurrence(s) in {path}",
        "     1\tone\n     2\t2",
        "Error: cannot read /proc/nowhere: No such file or directory",
    ]


@pytest.mark.parametrize("tool", [files.read, files.write, files.edit])
class TestPaths:
    def refused(self, tool: Any, file_path: object) -> str:
        arguments = {"file_path": file_path, "content": "x", "old_string": "a", "new_string": "b"}
        with pytest.raises(ToolError) as caught:
            tool("/job", arguments)
        return str(caught.value)

    def test_absolute_only(self, tool: Any) -> None:
        assert self.refused(tool, "a/../b.txt") == "file_path must be an absolute path, such as /job/b.txt"

    @pytest.mark.parametrize("value", ["", None, 7])
    def test_needed(self, tool: Any, value: object) -> None:
        assert self.refused(tool, value) == "file_path is required"

    def test_nul(self, tool: Any) -> None:
        assert "NUL" in self.refused(tool, "/a\0b")


class TestRead:
    def test_numbered_lines(self, path: Path) -> None:
        path.write_bytes(b"one\r\n\ttwo\n\nlast")
        assert read(path) == "     1\tone\n     2\t\ttwo\n     3\t\n     4\tlast"

    def test_offset_and_limit(self, path: Path) -> None:
        path.write_text("".join(f"{n}\n" for n in range(1, 11)))
        assert read(path, offset=9) == "     9\t9\n    10\t10"
        assert read(path, offset=2, limit=1) == "     2\t2\n... [8 more lines; use offset 3 to go on]"
        assert read(path, offset=2.0, limit="1") == read(path, offset=2)
        assert read(path, offset=11) == "(no line 11: the file has 10 lines)"

    def test_2000_lines_unless_told(self, path: Path) -> None:
        path.write_text("x\n" * 2500)
        lines = read(path).splitlines()
        assert len(lines) == 2001
        assert lines[-1] == "... [500 more lines; use offset 2001 to go on]"

    def test_long_lines_are_cut_between_characters(self, path: Path) -> None:
        path.write_text("漢" * 70_000)
        assert read(path) == "     1\t" + "漢" * 2000 + " ... [line of 70000 characters cut]"

    def test_no_more_than_fits(self, path: Path) -> None:
        path.write_text(("y" * 1500 + "\n") * 1000)
        output = read(path)
        assert len(output) < 105_000
        assert output.endswith("more lines; use offset 68 to go on]")

    def test_empty(self, path: Path) -> None:
        path.touch()
        assert read(path) == "(empty file)"

    def test_odd_bytes(self, path: Path) -> None:
        path.write_bytes(b"caf\xe9\n")
        assert read(path) == "     1\tcaf\ufffd"

    def test_binary(self, path: Path) -> None:
        path.write_bytes(b"\x7fELF\0\0")
        with pytest.raises(ToolError, match="is a binary file of 6 bytes"):
            read(path)

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ToolError, match="is a directory"):
            read(tmp_path)

    def test_fifo_does_not_block(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(ToolError, match="is no regular file"):
            read(path)


class TestPdf:
    """With a stand-in for pdftotext, which shows what it was asked for."""

    @pytest.fixture(autouse=True)
    def pdftotext(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "bin" / "pdftotext"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\nprintf "%s\\n\\fpage\\n\\f" "$*"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    @pytest.mark.parametrize(("pages", "first", "last"), [("", 1, 20), ("3", 3, 3), ("2-5", 2, 5)])
    def test_pages(self, tmp_path: Path, pages: str, first: int, last: int) -> None:
        path = tmp_path / "a.PDF"
        output = read(path, pages=pages)
        assert output == f"     1\t-layout -f {first} -l {last} {path} -\n     2\t\n     3\tpage"

    @pytest.mark.parametrize("pages", ["x", "0", "5-2", "1-21"])
    def test_wrong_pages(self, tmp_path: Path, pages: str) -> None:
        with pytest.raises(ToolError, match="page"):
            read(tmp_path / "a.pdf", pages=pages)

    def test_without_the_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/proc/nowhere")
        with pytest.raises(ToolError, match="needs pdftotext"):
            read(tmp_path / "a.pdf")


class TestWrite:
    @pytest.mark.parametrize(("content", "lines"), [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)])
    def test_bytes_and_count(self, path: Path, content: str, lines: int) -> None:
        assert write(path, content) == f"File written successfully at: {path} ({lines} lines)"
        assert path.read_bytes() == content.encode()

    def test_line_ends_stay(self, path: Path) -> None:
        write(path, "a\r\nb\r")
        assert path.read_bytes() == b"a\r\nb\r"

    def test_mode(self, tmp_path: Path) -> None:
        previous = os.umask(0o022)
        try:
            write(tmp_path / "new" / "file", "x")
        finally:
            os.umask(previous)
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755
        assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o644

    def test_lone_surrogates_become_valid(self, path: Path) -> None:
        write(path, "a\ud800b")
        assert path.read_text() == "a\ufffdb"

    def test_where_nothing_can_be_written(self, path: Path) -> None:
        path.touch()
        with pytest.raises(ToolError, match="cannot write"):
            write(path / "below", "x")
        with pytest.raises(ToolError, match="cannot write"):
            write(path.parent, "x")


class TestEdit:
    def test_everything_else_stays(self, path: Path) -> None:
        path.write_bytes(b"\xff one\r\ntwo\r\n")
        path.chmod(0o755)
        assert edit(path, "one", "1 é") == f"Replaced 1 occurrence(s) in {path}"
        assert path.read_bytes() == b"\xff 1 \xc3\xa9\r\ntwo\r\n"
        assert path.stat().st_mode & 0o777 == 0o755

    def test_several(self, path: Path) -> None:
        path.write_text("a a a")
        with pytest.raises(ToolError, match="old_string found 3 times in file"):
            edit(path, "a", "b")
        assert edit(path, "a", "b", replace_all=True) == f"Replaced 3 occurrence(s) in {path}"
        assert path.read_text() == "b b b"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("zzz", "b", "old_string not found in file"),
            ("a", "a", "old_string and new_string must be different"),
            ("", "b", "old_string must not be empty"),
        ],
    )
    def test_refused(self, path: Path, old: str, new: str, message: str) -> None:
        path.write_text("a")
        with pytest.raises(ToolError, match=message):
            edit(path, old, new)
        assert path.read_text() == "a"

    def test_to_nothing(self, path: Path) -> None:
        path.write_text("abc")
        edit(path, "b", "")
        assert path.read_text() == "ac"

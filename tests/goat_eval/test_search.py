"""Glob and Grep, and the patterns under them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.goat_eval.errors import ToolError
from pytest_goat.goat_eval.tools import search
from pytest_goat.goat_eval.tools.globs import compile_glob
from tests.support.agent_run import AgentRunner
from tests.support.model_server import Answer, ToolCall


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project: what is in it stands in `FILES`."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    (tmp_path / "link.py").symlink_to("src/a.py")
    (tmp_path / "loop").symlink_to(".")
    return tmp_path


FILES = {
    "src/a.py": "import os\n\ndef alpha():\n    return 'needle'\n",
    "src/deep/b.py": "needle\nNEEDLE\nneedle needle\n",
    "src/c.js": "function needle() {}\n",
    "README.md": "# Title\nno\n",
    ".hidden/d.py": "needle\n",
    ".env": "needle=1\n",
    "data.bin": "needle\0\n",
}


def glob(tree: Path, pattern: str, path: str = "") -> list[str]:
    output = search.glob(str(tree), {"pattern": pattern, "path": path})
    return [os.path.relpath(line, tree) for line in output.splitlines()]


def grep(tree: Path, pattern: str, **arguments: Any) -> str:
    output = search.grep(str(tree), {"pattern": pattern, **arguments})
    return output.replace(f"{tree}/", "")


def test_both_in_a_run(agent: AgentRunner) -> None:
    (agent.work / "a.py").write_text("x = 1\n")
    outputs = agent.call(
        ToolCall("Glob", {"pattern": "*.py"}),
        ToolCall("Grep", {"pattern": "x", "output_mode": "content"}),
        ToolCall("Grep", {"pattern": "("}),
    )
    assert outputs[0] == str(agent.work / "a.py")
    assert outputs[1] == f"{agent.work}/a.py:1:x = 1"
    assert outputs[2].startswith("Error: regex parse error: ")


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "matching", "other"),
        [
            ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc"]),
            ("**/*.py", ["a.py", "a/b.py", "a/b/c.py"], ["a.js"]),
            ("src/**", ["src/a", "src/a/b"], ["src", "lib/a"]),
            ("**", ["a", "a/b"], [""]),
            ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/bz"]),
            ("a**b", ["ab", "axb"], ["a/b"]),
            ("?.c", ["a.c", "漢.c"], ["ab.c", "/.c"]),
            ("[ab]x", ["ax", "bx"], ["cx"]),
            ("[!ab]x", ["cx"], ["ax", "/x"]),
            ("[^ab]x", ["cx"], ["ax"]),
            ("[a-c]", ["b"], ["d", "-"]),
            ("[]]", ["]"], ["["]),
            ("[x", ["[x"], ["x"]),
            ("*.{ts,tsx}", ["a.ts", "a.tsx"], ["a.t", "a.{ts,tsx}"]),
            ("{a,b/**}/c", ["a/c", "b/x/c"], ["b/c/d"]),
            ("{a,{b,c}}", ["a", "b", "c"], ["d"]),
            ("a,b", ["a,b"], ["a"]),
            (r"\*.py", ["*.py"], ["a.py"]),
            ("a.b+c", ["a.b+c"], ["axbbc"]),
        ],
    )
    def test_what_matches(self, pattern: str, matching: list[str], other: list[str]) -> None:
        compiled = compile_glob(pattern)
        assert [text for text in matching if not compiled.fullmatch(text)] == []
        assert [text for text in other if compiled.fullmatch(text)] == []

    @pytest.mark.parametrize("pattern", ["{a", "a\\", "[z-a]"])
    def test_what_is_none(self, pattern: str) -> None:
        with pytest.raises(ToolError, match=re.escape(f"not a glob pattern: {pattern}")):
            compile_glob(pattern)


class TestGlob:
    def test_sorted_by_name_with_folders_and_hidden_names(self, tree: Path) -> None:
        assert glob(tree, "*") == sorted([*{name.split("/")[0] for name in FILES}, "link.py", "loop"])

    def test_all_levels_without_following_links(self, tree: Path) -> None:
        assert glob(tree, "**/*.py") == [".hidden/d.py", "link.py", "src/a.py", "src/deep/b.py"]

    def test_path(self, tree: Path) -> None:
        assert glob(tree, "*.py", "src") == ["src/a.py"]
        assert glob(tree, "*.py", str(tree / "src")) == ["src/a.py"]

    def test_fixed_parts(self, tree: Path) -> None:
        assert glob(tree, "src/../src/*.py") == ["src/a.py"]
        assert glob(tree, "README.md") == ["README.md"]
        assert glob(tree, str(tree / "src" / "*.js")) == ["src/c.js"]
        assert "/proc" in search.glob(str(tree), {"pattern": "/pro?"}).splitlines()

    def test_special_characters_in_the_name_of_the_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "a[1] {x,y} *"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "b.py").touch()
        assert glob(folder, "**/*.py") == ["sub/b.py"]
        assert glob(tmp_path, "*.py", str(folder / "sub")) == ["a[1] {x,y} */sub/b.py"]

    def test_nothing(self, tree: Path) -> None:
        assert search.glob(str(tree), {"pattern": "*.rs"}) == "No files matched the pattern."
        assert search.glob(str(tree), {"pattern": "missing"}) == "No files matched the pattern."

    def test_no_folder(self, tree: Path) -> None:
        with pytest.raises(ToolError, match="is not a directory"):
            glob(tree, "*", "README.md")

    def test_long_lists_are_cut(self, tmp_path: Path) -> None:
        for number in range(400):
            (tmp_path / f"{number:03}{'x' * 200}").touch()
        output = search.glob(str(tmp_path), {"pattern": "*"})
        assert "bytes cut; 400 files matched" in output
        assert len(output) < 50_200


class TestGrep:
    def test_paths_by_default(self, tree: Path) -> None:
        assert grep(tree, "needle") == "src/a.py\nsrc/c.js\nsrc/deep/b.py"

    def test_content(self, tree: Path) -> None:
        assert grep(tree, "needle", output_mode="content", glob="*.py").splitlines() == [
            "src/a.py:4:    return 'needle'",
            "src/deep/b.py:1:needle",
            "src/deep/b.py:3:needle needle",
        ]

    def test_without_numbers(self, tree: Path) -> None:
        for key in ("show_line_numbers", "-n"):
            assert grep(tree, "alpha", output_mode="content", **{key: False}) == "src/a.py:def alpha():"

    def test_count(self, tree: Path) -> None:
        assert grep(tree, "needle", output_mode="count", type="py") == "src/a.py:1\nsrc/deep/b.py:2"

    @pytest.mark.parametrize("key", ["case_insensitive", "-i"])
    def test_case(self, tree: Path, key: str) -> None:
        assert grep(tree, "NeEdLe", path="src/deep/b.py", output_mode="count", **{key: True}) == "3"

    def test_one_file_needs_no_path(self, tree: Path) -> None:
        assert grep(tree, "alpha", path="src/a.py", output_mode="content") == "3:def alpha():"
        assert grep(tree, "needle", path=str(tree / ".env")) == ".env"
        assert grep(tree, "needle", path="data.bin", output_mode="count") == "1"

    @pytest.mark.parametrize(
        ("arguments", "lines"),
        [
            ({"after_context": 1}, ["2:b", "3-c", "--", "6:b", "7-g"]),
            ({"-A": 1}, ["2:b", "3-c", "--", "6:b", "7-g"]),
            ({"before_context": 1}, ["1-a", "2:b", "--", "5-e", "6:b"]),
            ({"-B": 1}, ["1-a", "2:b", "--", "5-e", "6:b"]),
            ({"context_lines": 2}, ["1-a", "2:b", "3-c", "4-d", "5-e", "6:b", "7-g"]),
            ({"-C": 2}, ["1-a", "2:b", "3-c", "4-d", "5-e", "6:b", "7-g"]),
        ],
    )
    def test_context(self, tmp_path: Path, arguments: dict[str, Any], lines: list[str]) -> None:
        (tmp_path / "f").write_text("a\nb\nc\nd\ne\nb\ng\n")
        assert grep(tmp_path, "b", path="f", output_mode="content", **arguments).splitlines() == lines

    def test_context_between_files(self, tree: Path) -> None:
        output = grep(tree, "function|alpha", output_mode="content", context_lines=1)
        assert output.splitlines() == [
            "src/a.py-2-",
            "src/a.py:3:def alpha():",
            "src/a.py-4-    return 'needle'",
            "--",
            "src/c.js:1:function needle() {}",
        ]

    def test_multiline(self, tree: Path) -> None:
        arguments: dict[str, Any] = {"path": "src/a.py", "multiline": True}
        assert (
            grep(tree, r"alpha.*needle", output_mode="content", **arguments)
            == "3:def alpha():\n4:    return 'needle'"
        )
        assert grep(tree, r"alpha.*needle", output_mode="count", **arguments) == "1"
        assert grep(tree, r"alpha.*needle", path="src/a.py") == "No matches found."

    def test_a_set_that_python_warns_of(self, agent: AgentRunner) -> None:
        (agent.work / "f").write_text("a[\n")
        ran = agent.run([Answer(tools=[ToolCall("Grep", {"pattern": "[[a]{2}"})]), Answer("ok")])
        assert (ran.outputs, ran.stderr) == ([str(agent.work / "f")], "")

    def test_head_limit(self, tree: Path) -> None:
        assert grep(tree, "needle", head_limit=2) == "src/a.py\nsrc/c.js"

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("*.js", "src/c.js"),
            ("src/*.js", "src/c.js"),
            ("**/*.{js,ts}", "src/c.js"),
            ("/src/*.js", "src/c.js"),
            ("!*.py", "src/c.js"),
            (".env", ".env"),
            (".hidden/**", ".hidden/d.py"),
            ("*.rs", "No matches found."),
        ],
    )
    def test_glob(self, tree: Path, pattern: str, found: str) -> None:
        assert grep(tree, "needle", glob=pattern) == found

    def test_posix_sets(self, tree: Path) -> None:
        assert grep(tree, r"^[[:alpha:]]+[[:space:]][[:lower:]_]+\(\)") == "src/a.py\nsrc/c.js"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"pattern": "(a"}, "regex parse error"),
            ({"pattern": r"\p{L}"}, "regex parse error"),
            ({"pattern": ""}, "pattern is required"),
            ({"pattern": "a", "type": "klingon"}, "unrecognized file type: klingon"),
            ({"pattern": "a", "output_mode": "all"}, "output_mode must be one of"),
            ({"pattern": "a", "path": "missing"}, "no such file or directory"),
        ],
    )
    def test_refused(self, tree: Path, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ToolError, match=re.escape(message)):
            search.grep(str(tree), arguments)

    def test_line_ends_and_odd_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"caf\xe9 end\r\nlast end")
        assert grep(tmp_path, "end$", path="f", output_mode="content") == "1:caf\ufffd end\n2:last end"

    def test_long_lines_are_cut(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x" * 100_000)
        assert grep(tmp_path, "x", path="f", output_mode="content") == "1:" + "x" * 2000 + " ... [line cut]"

    def test_a_pattern_that_never_ends_is_ended(self, agent: AgentRunner) -> None:
        (agent.work / "f").write_text("a" * 60 + "b")
        endless = Answer(tools=[ToolCall("Grep", {"pattern": "(a+)+$"})])
        ran = agent.run([endless], env={"GOAT_DEADLINE_S": "0.5"})
        assert ran.result["status"] == "deadline"


class TestIgnored:
    @pytest.fixture
    def repository(self, tree: Path) -> Path:
        (tree / ".git").mkdir()
        (tree / ".gitignore").write_text("# build\nbuild/\n*.log\n!keep.log\n/top.py\nsrc/deep\n")
        for name in ("build/x.py", "src/build/x.py", "a.log", "src/keep.log", "top.py", "src/top.py"):
            path = tree / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("needle\n")
        (tree / "src" / ".gitignore").write_text("c.js\n")
        return tree

    def test_what_git_ignores_is_passed_over(self, repository: Path) -> None:
        assert grep(repository, "needle").split() == ["src/a.py", "src/keep.log", "src/top.py"]

    def test_rules_from_above(self, repository: Path) -> None:
        assert grep(repository, "needle", path="src").split() == ["src/a.py", "src/keep.log", "src/top.py"]

    def test_an_ignored_file_that_is_named(self, repository: Path) -> None:
        assert grep(repository, "needle", path="a.log") == "a.log"

    def test_no_repository_no_rules(self, repository: Path) -> None:
        (repository / ".git").rmdir()
        assert "build/x.py" in grep(repository, "needle")

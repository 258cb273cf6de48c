"""The one file that goat-eval is shipped as."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytest_goat.agent.bundle import build, digest
from pytest_goat.errors import UserError
from tests.support.agent_run import AgentRunner
from tests.support.model_server import Answer, ToolCall

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "pytest_goat" / "goat_eval").rglob("*.py"))
OTHER_PYTHONS = [
    str(path)
    for path in (Path("/usr/bin/python3"), *sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3")))
    if path.exists()
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_module_is_python_39(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any((node.module or "").startswith("pytest_goat") for node in imports)
    if any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree)):
        assert any(node.module == "__future__" for node in imports), "annotations must not be evaluated"


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first = build(tmp_path / "a" / "one")
    command = [sys.executable, "-m", "pytest_goat.agent.bundle", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "a" / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert done.stdout == f"{tmp_path / 'two'} {first}\n"
    assert first == digest()
    assert len(bytes.fromhex(first)) == 6


def test_it_is_executable_and_holds_every_module_twice(program: Path) -> None:
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert program.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(program) as archive:
        names = archive.namelist()
    assert {"__main__.py", "goat_eval/__main__.py", "goat_eval/tools/bash.py"} <= set(names)
    assert sorted(name for name in names if name.endswith(".pyc")) == sorted(
        f"{name}c" for name in names if name.endswith(".py")
    )


def test_nothing_is_compiled_at_the_start(agent: AgentRunner, tmp_path: Path) -> None:
    """With sources that no Python can compile, the run still works: the compiled modules are what is used."""
    broken = tmp_path / "broken"
    with zipfile.ZipFile(agent.program) as archive, zipfile.ZipFile(broken, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name) if name.endswith(".pyc") else b"(")
    ran = AgentRunner(broken, agent.work, agent.out).run()
    assert (ran.stdout, ran.stderr) == ("done", "")


def test_other_pythons_fall_back_to_the_sources(agent: AgentRunner, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    with zipfile.ZipFile(agent.program) as archive, zipfile.ZipFile(foreign, "w") as copy:
        for name in archive.namelist():
            data = archive.read(name)
            copy.writestr(name, b"\0\0\r\n" + data[4:] if name.endswith(".pyc") else data)
    assert AgentRunner(foreign, agent.work, agent.out).run().stdout == "done"


@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_every_python_that_is_here(agent: AgentRunner, python: str) -> None:
    if subprocess.run(
        [python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False
    ).returncode:
        pytest.skip(f"{python} is older than 3.9")
    calls = [
        ToolCall("Bash", {"command": "echo $((1 + 1)); exit 4"}),
        ToolCall("Write", {"file_path": str(agent.work / "a.py"), "content": "x = 'é'\n"}),
        ToolCall("Edit", {"file_path": str(agent.work / "a.py"), "old_string": "é", "new_string": "e"}),
        ToolCall("Read", {"file_path": str(agent.work / "a.py")}),
        ToolCall("Glob", {"pattern": "**/*.py"}),
        ToolCall("Grep", {"pattern": "x =", "output_mode": "count"}),
    ]
    ran = agent.run([Answer(tools=calls), Answer("ok")], python=(python, "-I", "-S"))
    assert (ran.code, ran.stdout, ran.stderr) == (0, "ok", "")
    path = agent.work / "a.py"
    assert ran.outputs[0] == "Error: [exit code 4]\n2"
    assert ran.outputs[3:] == ["     1\tx = 'e'", str(path), f"{path}:1"]


def test_it_runs_by_itself(agent: AgentRunner) -> None:
    assert agent.run(python=()).stdout == "done"


def test_the_package_runs_too(agent: AgentRunner) -> None:
    ran = AgentRunner(Path("pytest_goat.goat_eval"), agent.work, agent.out).run(python=(sys.executable, "-m"))
    assert ran.stdout == "done"


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the agent to"):
        build(tmp_path / "file" / "agent")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_goat.agent.bundle"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, b"usage: python -m pytest_goat.agent.bundle OUT\n")


class TestBuildScript:
    def build(self, out: Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ROOT / "infra" / "build_eval.sh"), str(out)],
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_python_agent(self, agent: AgentRunner, tmp_path: Path) -> None:
        done = self.build(tmp_path / "build")
        assert (done.returncode, done.stderr) == (0, "")
        assert "the Go agent is not built: set GOAT_SRC" in done.stdout
        assert (tmp_path / "build" / "goat-eval").read_bytes() == agent.program.read_bytes()

    def test_the_go_agent(self, tmp_path: Path) -> None:
        """With a stand-in for go that shows how it was called."""
        go = tmp_path / "bin" / "go"
        go.parent.mkdir()
        go.write_text('#!/bin/sh\necho "$PWD $CGO_ENABLED $GOOS $GOARCH $*" >"$5"\n')
        go.chmod(0o755)
        source = tmp_path / "source"
        (source / "cmd" / "eval").mkdir(parents=True)
        out = tmp_path / "build"
        done = self.build(out, GOAT_SRC=str(source), PATH=f"{go.parent}:{os.environ['PATH']}")
        assert (done.returncode, done.stderr) == (0, "")
        for arch in ("amd64", "arm64"):
            built = out / f"goat-eval-linux-{arch}"
            assert (
                built.read_text()
                == f"{source} 0 linux {arch} build -trimpath -ldflags=-s -w -o {built} ./cmd/eval\n"
            )

    @pytest.mark.parametrize(
        ("env", "message"),
        [
            ({"GOAT_SRC": "/proc/nowhere"}, "GOAT_SRC=/proc/nowhere has no cmd/eval"),
            ({"PYTHON": "no-such-python"}, "no-such-python is not installed"),
        ],
    )
    def test_what_is_missing_is_said(self, tmp_path: Path, env: dict[str, str], message: str) -> None:
        done = self.build(tmp_path, **env)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {message}")

    def test_no_go(self, tmp_path: Path) -> None:
        (tmp_path / "cmd" / "eval").mkdir(parents=True)
        tools = tmp_path / "bin"
        tools.mkdir()
        for name in ("bash", "dirname", "mkdir"):
            (tools / name).symlink_to(str(shutil.which(name)))
        done = self.build(tmp_path / "build", GOAT_SRC=str(tmp_path), PATH=str(tools))
        assert (done.returncode, done.stderr[:49]) == (1, "error: GOAT_SRC is set, but go is not installed; ")

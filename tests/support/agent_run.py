"""Runs goat-eval as a process of its own against a scripted model, and reads what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.model_server import Answer, ModelServer, Request, Script, ToolCall

DONE = (Answer("done"),)
PYTHON = (sys.executable, "-I", "-S")
KEY = "sk-test-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    result: dict[str, Any]
    """The result file; {} when there is none."""
    events: list[dict[str, Any]]
    """The trajectory."""
    requests: list[Request]
    """What the model was asked."""

    @property
    def outputs(self) -> list[str]:
        """The tool results that the model saw in the last request."""
        return [m["content"] for m in self.requests[-1].json["messages"] if m["role"] == "tool"]


@dataclass(frozen=True, slots=True)
class AgentRunner:
    """Runs the agent `program` in the folder `work`; its records go to `out`."""

    program: Path
    work: Path
    out: Path

    def environment(self, url: str, extra: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.out),
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": KEY,
            "EVAL_MODEL": "test-model",
            "GOAT_RESULT_FILE": str(self.out / "result.json"),
            "GOAT_TRAJECTORY_FILE": str(self.out / "trajectory.jsonl"),
            "GOAT_BACKOFF_S": "0.01",
            **extra,
        }

    def start(
        self,
        url: str,
        *flags: str,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = PYTHON,
        stdin: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a run against the model at `url`."""
        return subprocess.Popen(
            [*python, str(self.program), "-cwd", str(self.work), *flags],
            env=self.environment(url, env or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self, process: subprocess.Popen[bytes], requests: list[Request], stdin: bytes = b"") -> Ran:
        """Wait for a run that was started, and read what it left."""
        with process:
            stdout, stderr = process.communicate(stdin, timeout=60)
        result, trajectory = self.out / "result.json", self.out / "trajectory.jsonl"
        return Ran(
            process.returncode,
            stdout.decode(),
            stderr.decode(),
            json.loads(result.read_text()) if result.exists() else {},
            [json.loads(line) for line in trajectory.read_text().splitlines()] if trajectory.exists() else [],
            requests,
        )

    def run(
        self,
        script: Script = DONE,
        *flags: str,
        prompt: str = "do it",
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = PYTHON,
    ) -> Ran:
        """One whole run against `script`. `prompt` "" leaves the flag out."""
        with ModelServer(script) as server:
            given = ("-prompt", prompt, *flags) if prompt else flags
            process = self.start(server.url, *given, env=env, python=python)
            return self.finish(process, server.requests, stdin)

    def call(self, *calls: ToolCall, env: Mapping[str, str] | None = None) -> list[str]:
        """What the model is told of tool calls, each in a turn of its own."""
        return self.run([*(Answer(tools=[call]) for call in calls), Answer("done")], env=env).outputs

    def bash(self, *commands: str, env: Mapping[str, str] | None = None) -> list[str]:
        """What the model is told of commands."""
        return self.call(*(ToolCall("Bash", {"command": command}) for command in commands), env=env)


def processes_with(argument: str) -> list[str]:
    """Command lines of live processes that have `argument` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if argument in words:
                found.append(" ".join(words))
    return found

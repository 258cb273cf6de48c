"""goat-eval and every binary that keeps its contract: v0 by flags and streams, v1 by environment variables.

A v0 binary ignores the v1 variables; then its exit code and its stdout are all that it says, and its exit
code says little: 0 is no proof of anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from pytest_goat.agent.base import AgentInput, AgentOutcome, Command
from pytest_goat.errors import Cause, UserError
from pytest_goat.gateway.base import Usage
from pytest_goat.sandbox.base import ExecResult, Files, Mount

PROGRAM = "/opt/goat/bin/goat-eval"
PYTHON = ("python3", "-I", "-S")
"""The bundled agent needs the standard library alone: without `site` it starts in half the time."""
REPORT_MARGIN = 2.0
"""Seconds before the end of its time at which the agent stops by itself, so that it can still report."""
LEAST_SHARE = 0.75
"""Share of a short time that it may work all the same; a model counts as hung after the half of it."""
MOST_IDLE = 3600.0
"""Seconds beyond its time: how long a call may go without a byte is for the gateway to say, which holds some
back for a rate limit and ends those whose model is silent.
"""
RESULT_MAX = 1024 * 1024
"""Bytes of a result file: a larger one is no honest one, and everything in it would be carried along."""
MESSAGE_MAX = 500
"""Characters kept of the agent's own word on why it ended."""

_CAUSES = {
    "max_turns": Cause.TURN_LIMIT,
    "max_tokens": Cause.LENGTH_CUT,
    "context_overflow": Cause.CONTEXT_OVERFLOW,
    "refused": Cause.REFUSAL,
    "deadline": Cause.TIMEOUT,
    "interrupted": Cause.AGENT_CRASHED,
    "config_error": Cause.AGENT_CRASHED,
}
"""Status in the agent's result file -> cause. `llm_error` has none: the gateway knows better."""


class GoatEval:
    """The binary at `program`; `bundled` says that it is our own, which `python3` runs."""

    needs_model = True

    def __init__(self, program: Path, *, bundled: bool = False) -> None:
        self.name = "goat-eval" if bundled else program.name
        self.version = file_hash(program)
        self._bundled = bundled
        self._program = program

    @property
    def mounts(self) -> tuple[Mount, ...]:
        return (Mount(str(self._program), PROGRAM),)

    def check(self) -> None:
        mode = self._program.stat().st_mode
        if not stat.S_ISREG(mode) or not os.access(self._program, os.X_OK):
            raise UserError(
                f"--goat-agent: {self._program} is not an executable file.\n"
                f"  chmod +x {self._program}, or build one with: bash infra/build_eval.sh"
            )

    def command(self, given: AgentInput) -> Command:
        limits = given.task.limits
        return Command(
            argv=(
                *(PYTHON if self._bundled else ()),
                PROGRAM,
                "-cwd",
                given.workdir,
                "-max-turns",
                str(limits.max_turns),
            ),
            stdin=given.task.prompt.encode(),
            env=model_env(given)
            | {
                "GOAT_RESULT_FILE": f"{given.outdir}/result.json",
                "GOAT_TRAJECTORY_FILE": f"{given.outdir}/trajectory.jsonl",
                "GOAT_DEADLINE_S": f"{max(limits.timeout - REPORT_MARGIN, limits.timeout * LEAST_SHARE):g}",
                "GOAT_IDLE_S": f"{limits.timeout + MOST_IDLE:g}",
                "GOAT_RUN_ID": given.trial_id,
            },
        )

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        trajectory = left["trajectory.jsonl"].data if "trajectory.jsonl" in left else b""
        told = _result_record(left)
        if told is None:
            return plain_outcome(result, trajectory)
        status, error = _text(told, "status"), told.get("error")
        return AgentOutcome(
            answer=_text(told, "final_text"),
            completed=status == "completed",
            cause=_CAUSES.get(status),
            message=" ".join(_text(error, "message").split())[:MESSAGE_MAX],
            turns=count(told["turns"]) if "turns" in told else None,
            usage=_usage(told.get("usage")),
            trajectory=trajectory,
            details={key: told[key] for key in ("agent", "timings", "tool_calls", "llm") if key in told},
        )


def model_env(given: AgentInput) -> dict[str, str]:
    """What every agent of the OpenAI kind is told of its model."""
    return {
        "OPENAI_BASE_URL": given.base_url,
        "OPENAI_API_KEY": given.api_key,
        "EVAL_MODEL": given.model,
        "NO_PROXY": "*",
    }


def plain_outcome(result: ExecResult, trajectory: bytes = b"") -> AgentOutcome:
    """Read an agent that leaves no record: by its exit and its stdout."""
    answer = result.stdout.decode(errors="replace")
    if result.timed_out:
        return AgentOutcome(answer, False, Cause.TIMEOUT, trajectory=trajectory)
    if result.limit:
        message = f"the sandbox's {result.limit} limit ended it"
        return AgentOutcome(answer, False, Cause.AGENT_CRASHED, message, trajectory=trajectory)
    if not result.ok:
        message = f"it ended with exit code {result.exit_code}"
        return AgentOutcome(answer, False, Cause.AGENT_CRASHED, message, trajectory=trajectory)
    if not answer.strip():
        return AgentOutcome("", False, Cause.NO_ANSWER, trajectory=trajectory)
    return AgentOutcome(answer, True, trajectory=trajectory)


def _result_record(left: Files) -> dict[str, Any] | None:
    data = left["result.json"].data if "result.json" in left else b""
    try:
        told = json.loads(data) if len(data) <= RESULT_MAX else None
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _text(told: Any, key: str) -> str:
    value = told.get(key) if isinstance(told, dict) else None
    return value if isinstance(value, str) else ""


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    prompt, cached, completion, reasoning = (
        count(told.get(key)) for key in ("prompt", "cached", "completion", "reasoning")
    )
    return Usage(prompt, cached, completion, reasoning)


def count(value: Any) -> int:
    """What an agent says of a number of things; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def file_hash(path: Path) -> str:
    """Twelve hex digits of the file's SHA-256. Raises `UserError` when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise UserError(f"--goat-agent: cannot read {path}: {error.strerror}") from error

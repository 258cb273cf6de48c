"""Any other agent, described as data.

    name: my-agent
    program: ./my-agent            # optional: put into the sandbox, `{program}` in argv
    argv: ["{program}", --model, "{model}", --task-file, "{prompt_file}"]
    prompt: file                   # argv ({prompt} in argv), stdin, or file ({prompt_file}); default stdin
    env: {MY_AGENT_URL: "{base_url}"}
    answer: {from: stdout, format: json, at: result.text}
    usage: {from: stdout, format: jsonl, prompt_tokens: usage.input, completion_tokens: usage.output}

Placeholders: {prompt} {prompt_file} {program} {workdir} {outdir} {model} {max_turns} {timeout} {base_url}
{api_key}. `from` is stdout, stderr, or a file below `{outdir}`; `format` is text, json or jsonl; `at` is a
dotted path (a number indexes a list). Of jsonl lines the last that has the path is the answer, and usage is
summed over all that have it. OPENAI_BASE_URL, OPENAI_API_KEY and EVAL_MODEL are always set.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_goat.agent.base import AgentInput, AgentOutcome, Command
from pytest_goat.agent.contract import count, file_hash, model_env, plain_outcome
from pytest_goat.errors import UserError
from pytest_goat.gateway.answer import read_cost
from pytest_goat.gateway.base import Usage
from pytest_goat.sandbox.base import ExecResult, File, Files, Mount

BIN = "/opt/goat/bin"
PROMPT_FILE = "prompt.txt"
ARGV_MAX = 120 * 1024
"""Bytes of a prompt that may travel in argv: the kernel refuses one word of 128 KiB."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a value stands in what the agent left."""

    origin: str = "stdout"
    format: str = "text"
    at: str = ""

    def records(self, result: ExecResult, left: Files) -> Iterator[Any]:
        """The text, or each JSON value that could be read."""
        text = _origin(self.origin, result, left).decode(errors="replace")
        if self.format == "text":
            yield text
            return
        for part in text.splitlines() if self.format == "jsonl" else [text]:
            try:
                yield json.loads(part)
            except (ValueError, RecursionError):
                continue


@dataclass(frozen=True, slots=True)
class Spec:
    """An adapter file, checked."""

    path: Path
    name: str
    argv: tuple[str, ...]
    prompt: str = "stdin"
    program: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    answer: Where = field(default_factory=Where)
    usage: Where | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Field of `Usage` -> dotted path."""


class Adapter:
    """The agent that an adapter file describes."""

    needs_model = True

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.name = spec.name
        self.version = file_hash(spec.program or spec.path)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        program = self._spec.program
        return (Mount(str(program), f"{BIN}/{program.name}"),) if program else ()

    def check(self) -> None:
        program = self._spec.program
        if program is not None and not program.stat().st_mode & 0o111:
            raise UserError(f"{self._spec.path}: program: {program} is not executable.\n  chmod +x {program}")

    def command(self, given: AgentInput) -> Command:
        spec = self._spec
        task = given.task
        words = {
            "prompt_file": f"{given.outdir}/{PROMPT_FILE}",
            "program": f"{BIN}/{spec.program.name}" if spec.program else "",
            "workdir": given.workdir,
            "outdir": given.outdir,
            "model": given.model,
            "max_turns": str(task.limits.max_turns),
            "timeout": f"{task.limits.timeout:g}",
            "base_url": given.base_url,
            "api_key": given.api_key,
        }
        if spec.prompt == "argv":
            if len(task.prompt.encode()) > ARGV_MAX:
                raise UserError(
                    f"{spec.path}: the prompt of {task.id} is too long for the command line.\n"
                    "  Use `prompt: stdin` or `prompt: file`."
                )
            words["prompt"] = task.prompt
        return Command(
            argv=tuple(_fill(word, words) for word in spec.argv),
            stdin=task.prompt.encode() if spec.prompt == "stdin" else b"",
            env=model_env(given) | {key: _fill(value, words) for key, value in spec.env.items()},
            files={PROMPT_FILE: File(task.prompt.encode())} if spec.prompt == "file" else {},
        )

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        answer = ""
        for record in self._spec.answer.records(result, left):
            found = _at(record, self._spec.answer.at)
            if found is not None:
                answer = found if isinstance(found, str) else json.dumps(found)
        plain = plain_outcome(dataclasses.replace(result, stdout=answer.encode()))
        return dataclasses.replace(plain, usage=self._usage(result, left))

    def _usage(self, result: ExecResult, left: Files) -> Usage | None:
        if self._spec.usage is None:
            return None
        total = Usage()
        for record in self._spec.usage.records(result, left):
            told = {name: _at(record, path) for name, path in self._spec.tokens.items()}
            cost = read_cost(told.pop("cost", None))
            counted: dict[str, Any] = {name: count(value) for name, value in told.items()}
            total += Usage(**counted, cost=cost)
        return total


def _origin(origin: str, result: ExecResult, left: Files) -> bytes:
    if origin == "stdout":
        return result.stdout
    if origin == "stderr":
        return result.stderr
    return left[origin].data if origin in left else b""


def _at(record: Any, path: str) -> Any:
    for step in path.split(".") if path else []:
        if isinstance(record, dict):
            record = record.get(step)
        elif (
            isinstance(record, list)
            and step.lstrip("-").isdigit()
            and -len(record) <= int(step) < len(record)
        ):
            record = record[int(step)]
        else:
            return None
    return record


def _fill(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace("{" + name + "}", value)
    return word

"""One run from start to end: what it is given, the loop, what it leaves.

Exit codes, as the Go agent has them: 0 once the model was asked, whatever came of it; 1 when the prompt,
skills or MCP configuration cannot be used; 2 for wrong flags; death by SIGTERM. With GOAT_STRICT_EXIT:
0 completed, 1 configuration, 2 flags, 3 the model could not be asked, 4 a limit or a refusal ended it,
124 deadline, 130 and 143 signals. In every case what the tools left running is dead by then, and the result
is written.
"""

from __future__ import annotations

import os
import signal
import sys

from .config import Config
from .console import say, show
from .errors import ConfigError, ModelError, Stopped
from .flags import parse
from .llm import Model, is_small
from .loop import Session
from .prompt import system_prompt
from .record import Recorder, error_fields
from .signals import Signals
from .text import utf8
from .tools import Toolbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mcp import Servers

STRICT_CODES = {
    "completed": 0,
    "config_error": 1,
    "llm_error": 3,
    "max_turns": 4,
    "max_tokens": 4,
    "context_overflow": 4,
    "refused": 4,
    "deadline": 124,
}


def main() -> int:
    """Run the agent as `sys.argv` and the environment say; the exit code."""
    recorder = Recorder()
    try:
        config = Config(parse(sys.argv[1:], sys.argv[0]), os.environ)
        recorder.open(config.trajectory_file, config.api_key)
    except ConfigError as error:
        say(str(error))
        if error.code:
            _report(recorder, "config_error", _as_fields("config", error))
        return error.code
    return Run(config, recorder).main()


class Run:
    """A run whose flags and environment are right."""

    def __init__(self, config: Config, recorder: Recorder) -> None:
        self._config = config
        self._recorder = recorder
        self._signals = Signals()
        self._toolbox = Toolbox(config.cwd, self._signals)
        self._model = Model(config, recorder)
        self._servers: Servers | None = None
        self._signum = 0
        self._shown_turns = 0
        self._crash: Exception | None = None

    def main(self) -> int:
        """The whole run; the exit code."""
        status, error = self._outcome()
        self._signals.ignore()
        self._close()
        if self._recorder.turns > self._shown_turns and self._signum != signal.SIGTERM:
            show(self._recorder.final_text)
        _report(self._recorder, status, error)
        if self._crash is not None:
            raise self._crash
        return self._exit_code(status)

    def _outcome(self) -> tuple[str, dict[str, Any] | None]:
        """How the run ends: its status and error."""
        try:
            self._signals.listen(self._config.deadline, self._model.waited)
            return self._converse(), None
        except ConfigError as error:
            say(str(error))
            return "config_error", _as_fields("config", error)
        except ModelError as error:
            say(self._recorder.clean(f"error: {error}"))
            status = "context_overflow" if error.kind == "context_overflow" else "llm_error"
            return status, error_fields(error)
        except Stopped as stopped:
            self._signum = stopped.signum
            if stopped.signum:
                return "interrupted", None
            say(f"error: the deadline of {self._config.deadline:g} s has passed")
            return "deadline", None
        except Exception as error:
            self._crash = error
            return "interrupted", _as_fields("internal", error)

    def _converse(self) -> str:
        prompt = self._first_prompt()
        session = self._session(prompt)
        status = session.run(prompt)
        while self._config.multi_turn and status == "completed":
            if self._recorder.final_text:
                show(self._recorder.final_text + "\n")
            self._shown_turns = self._recorder.turns
            say(f'{{"turn":{self._recorder.turns},"cost_usd":0.000000}}')
            prompt = _line_of_stdin()
            if not prompt:
                break
            self._recorder.event("user", text=prompt)
            status = session.run(prompt)
        return status

    def _first_prompt(self) -> str:
        """-prompt, else GOAT_PROMPT_FILE, else stdin: all of it, or a line in a multi-turn session."""
        config = self._config
        prompt = config.prompt
        if not prompt and config.prompt_file:
            try:
                with open(config.prompt_file, "rb") as file:
                    prompt = file.read().decode("utf-8", "replace")
            except OSError as error:
                message = f"error: cannot read GOAT_PROMPT_FILE {config.prompt_file}: {error.strerror}"
                raise ConfigError(message) from error
        elif not prompt:
            prompt = _line_of_stdin() if config.multi_turn else _all_of_stdin()
        if not prompt:
            raise ConfigError("error: no prompt provided (use -prompt flag or pipe to stdin)")
        return prompt

    def _session(self, prompt: str) -> Session:
        config = self._config
        tools = self._toolbox.tools()
        servers: list[str] = []
        skills: list[str] = []
        if config.mcp_config:
            from .mcp import Servers

            self._servers = Servers(config.mcp_config, self._toolbox)
            tools += self._servers.tools()
            servers = list(self._servers.connected)
        if config.skills_dir:
            from . import skills as skill_files

            found = skill_files.load(config.skills_dir)
            tools.append(skill_files.tool(found))
            skills = [skill.line() for skill in found.values()]
        system = utf8(system_prompt(config, skills, servers))
        self._recorder.event(
            "start",
            schema="goat-trajectory/1",
            run_id=config.run_id,
            model=config.model,
            cwd=config.cwd,
            max_turns=config.max_turns,
            system=system,
            prompt=prompt,
            tools=sorted(tool.name for tool in tools),
        )
        return Session(
            self._model,
            tools,
            self._recorder,
            system=system,
            max_turns=config.max_turns,
            small=is_small(config.model),
        )

    def _close(self) -> None:
        if self._servers is not None:
            self._servers.close()
        self._toolbox.close()
        self._model.close()

    def _exit_code(self, status: str) -> int:
        if self._signum == signal.SIGTERM and not self._config.strict_exit:
            # Die of it, as a program that catches nothing does; the first process of a container does not.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        if self._signum == signal.SIGTERM or (self._signum and self._config.strict_exit):
            return 128 + self._signum
        if self._config.strict_exit:
            return STRICT_CODES[status]
        return 1 if status == "config_error" else 0


def _report(recorder: Recorder, status: str, error: dict[str, Any] | None) -> None:
    path = os.environ.get("GOAT_RESULT_FILE", "")
    try:
        recorder.close(status, error, path)
    except OSError as failure:
        say(f"warning: the result cannot be written to {path}: {failure.strerror}")


def _as_fields(kind: str, error: Exception) -> dict[str, Any]:
    return {"kind": kind, "http_status": 0, "message": str(error), "retryable": False}


def _all_of_stdin() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace") if sys.stdin else ""


def _line_of_stdin() -> str:
    line = sys.stdin.buffer.readline() if sys.stdin else b""
    return line.decode("utf-8", "replace").rstrip("\r\n")


def start() -> None:
    """Run, and leave without tearing down the interpreter, which would take 4 ms: all is flushed by then."""
    os._exit(main())


if __name__ == "__main__":
    start()

"""What a run is given: flags and environment in one record."""

from __future__ import annotations

import os

from .errors import ConfigError
from .text import utf8

TYPE_CHECKING = False  # `typing` costs 2 ms to import, and nothing of it is needed at run time
if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROL = (
    "PROMPT_FILE",
    "RESULT_FILE",
    "TRAJECTORY_FILE",
    "STRICT_EXIT",
    "DEADLINE_S",
    "RUN_ID",
    "IDLE_S",
    "BACKOFF_S",
)
HIDDEN = ("OPENAI_API_KEY", *(f"GOAT_{name}" for name in CONTROL))
"""What no tool and no MCP server sees in its environment."""


class Config:
    """Flags and environment of one run. Raises `ConfigError` when a number is none."""

    def __init__(self, flags: Mapping[str, str | int | bool], environ: Mapping[str, str]) -> None:
        self.trajectory_file = environ.get("GOAT_TRAJECTORY_FILE", "")
        self.strict_exit = environ.get("GOAT_STRICT_EXIT", "") not in ("", "0", "false")

        self.prompt = utf8(str(flags["prompt"]))
        self.cwd = os.path.abspath(str(flags["cwd"]) or ".")
        self.max_turns = int(flags["max-turns"])
        self.mcp_config = str(flags["mcp-config"])
        self.multi_turn = bool(flags["multi-turn"])
        self.skills_dir = str(flags["skills-dir"])

        self.base_url = environ.get("OPENAI_BASE_URL") or "http://localhost:13131/v1"
        self.api_key = (environ.get("OPENAI_API_KEY") or "inspect").strip()
        self.model = environ.get("EVAL_MODEL") or "inspect"
        self.shell = environ.get("SHELL") or "bash"
        self.prompt_file = environ.get("GOAT_PROMPT_FILE", "")
        self.run_id = environ.get("GOAT_RUN_ID", "")
        self.deadline = _seconds(environ, "GOAT_DEADLINE_S", 0.0)
        self.idle = _seconds(environ, "GOAT_IDLE_S", 0.0) or 180.0
        self.backoff = _seconds(environ, "GOAT_BACKOFF_S", 1.0)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ConfigError(f"error: {name} must be a number of seconds, not {text!r}")
    return value

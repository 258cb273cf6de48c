"""Flags, read exactly as Go's `flag` package reads them (https://pkg.go.dev/flag, Command line flag syntax).

`-f v`, `--f v`, `-f=v`, `--f=v`; a boolean is bare or has `=value`; a value may begin with a dash; the last
one wins; reading stops at `--` or at the first argument that is no flag. argparse reads much of this
otherwise.
"""

from __future__ import annotations

import json

from .errors import ConfigError

# name -> (kind, default, help): what the Go agent has, in alphabetical order
FLAGS: dict[str, tuple[str, str | int | bool, str]] = {
    "cwd": ("string", "", "Working directory for tools (default: current directory)"),
    "max-turns": ("int", 100, "Maximum agentic loop turns"),
    "mcp-config": ("string", "", "Path to JSON file with MCP server configurations"),
    "multi-turn": ("bool", False, "Read follow-up prompts from stdin, one a line"),
    "prompt": ("string", "", "Prompt text (reads stdin if empty)"),
    "skills-dir": ("string", "", "Directory with .claude/skills/*/SKILL.md files"),
}

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_INT64 = range(-(2**63), 2**63)


class Usage(ConfigError):
    """The flags are wrong (`code` 2) or help was asked for (0); the message is all of stderr."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def parse(argv: list[str], program: str) -> dict[str, str | int | bool]:
    """The value of every flag. Raises `Usage`."""
    values = {name: default for name, (_, default, _) in FLAGS.items()}
    rest = list(argv)
    while rest and len(rest[0]) > 1 and rest[0].startswith("-"):
        argument = rest.pop(0)
        if argument == "--":
            break
        name, equals, value = argument[2 if argument.startswith("--") else 1 :].partition("=")
        if not name or name.startswith("-"):
            raise _wrong(f"bad flag syntax: {argument}", program)
        if name not in FLAGS:
            if name in ("h", "help"):
                raise Usage(_usage(program), 0)
            raise _wrong(f"flag provided but not defined: -{name}", program)
        kind = FLAGS[name][0]
        if kind != "bool" and not equals:
            if not rest:
                raise _wrong(f"flag needs an argument: -{name}", program)
            value = rest.pop(0)
        values[name] = _value(name, kind, value if equals or kind != "bool" else "true", program)
    return values


def _value(name: str, kind: str, text: str, program: str) -> str | int | bool:
    if kind == "string":
        return text
    if kind == "bool":
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise _wrong(f"invalid boolean value {_quote(text)} for -{name}: parse error", program)
    try:
        number = _integer(text)
    except ValueError:
        raise _wrong(f"invalid value {_quote(text)} for flag -{name}: parse error", program) from None
    if number not in _INT64:
        raise _wrong(f"invalid value {_quote(text)} for flag -{name}: value out of range", program)
    return number


def _integer(text: str) -> int:
    """As strconv.ParseInt with base 0: 0x, 0o and 0b prefixes, octal after a bare 0, no blanks."""
    if text != text.strip():
        raise ValueError(text)
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    return int(text, 8 if octal else 0)


def _wrong(message: str, program: str) -> Usage:
    return Usage(f"{message}\n{_usage(program)}", 2)


def _usage(program: str) -> str:
    lines = [f"Usage of {program}:"]
    for name, (kind, default, text) in FLAGS.items():
        lines.append(f"  -{name}" if kind == "bool" else f"  -{name} {kind}")
        lines.append(f"    \t{text}" + (f" (default {default})" if default else ""))
    return "\n".join(lines)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

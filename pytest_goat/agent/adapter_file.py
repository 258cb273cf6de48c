"""Reads an adapter file (see `pytest_goat.agent.adapter`) and says what is wrong with it."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from pytest_goat.agent.adapter import Spec, Where
from pytest_goat.errors import UserError

KEYS = ("name", "program", "argv", "prompt", "env", "answer", "usage")
CHANNELS = ("argv", "stdin", "file")
PLACEHOLDERS = {"argv": "{prompt}", "file": "{prompt_file}"}
"""By prompt channel, what stands for the prompt in argv."""
FORMATS = ("text", "json", "jsonl")
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost")


def read_adapter(path: Path) -> Spec:
    """Read and check `path`. Raises `UserError` that names the key and the mend."""
    data = _load(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: an adapter file is a mapping with the keys {', '.join(KEYS)}")
    _refuse_unknown(path, "", data, KEYS)
    argv = data.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise UserError(f'{path}: argv: must be a list of words, as in ["my-agent", "--model", "{{model}}"]')
    prompt = _choice(path, "prompt", data.get("prompt", "stdin"), CHANNELS)
    for channel, placeholder in PLACEHOLDERS.items():
        used = any(placeholder in word for word in argv)
        if used != (channel == prompt):
            raise UserError(f"{path}: {placeholder} in argv and `prompt: {channel}` go together")
    usage = data.get("usage")
    return Spec(
        path=path,
        name=str(data.get("name", path.stem)),
        argv=tuple(argv),
        prompt=prompt,
        program=_program(path, data.get("program")),
        env=_texts(path, "env", data.get("env", {})),
        answer=_where(path, "answer", data.get("answer", {}), ("at",)),
        usage=_where(path, "usage", usage, TOKENS) if usage is not None else None,
        tokens={key: str(usage[key]) for key in TOKENS if key in usage} if usage is not None else {},
    )


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"--goat-agent: cannot read {path}: {error.strerror}") from error
    except Exception as error:  # the YAML reader has many ways to refuse; each is the file's fault
        raise UserError(f"{path}: not readable: {' '.join(str(error).split())}") from error


def _where(path: Path, key: str, data: Any, more: tuple[str, ...]) -> Where:
    if not isinstance(data, dict):
        raise UserError(f"{path}: {key}: must be a mapping, as in {{from: stdout, format: text}}")
    _refuse_unknown(path, f"{key}.", data, ("from", "format", *more))
    paths = [name for name in more if name in data]
    form = _choice(path, f"{key}.format", data.get("format", "json" if paths else "text"), FORMATS)
    if paths and form == "text":
        raise UserError(f"{path}: {key}.{paths[0]}: a path needs `format: json` or `format: jsonl`")
    return Where(str(data.get("from", "stdout")), form, str(data.get("at", "")))


def _program(path: Path, said: Any) -> Path | None:
    if said is None:
        return None
    program = (path.parent / str(said)).resolve()
    if not program.is_file():
        raise UserError(f"{path}: program: {program} is not there (the path is relative to this file)")
    return program


def _texts(path: Path, key: str, data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(value, str | int | float) for value in data.values()):
        raise UserError(f"{path}: {key}: must be a mapping of names to texts")
    return {str(name): str(value) for name, value in data.items()}


def _choice(path: Path, key: str, said: Any, choices: tuple[str, ...]) -> str:
    if said not in choices:
        raise UserError(f"{path}: {key}: must be one of {', '.join(choices)}, not {said!r}")
    return str(said)


def _refuse_unknown(path: Path, prefix: str, data: dict[Any, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise UserError(f"{path}: {prefix}{key}: unknown key{hint}")

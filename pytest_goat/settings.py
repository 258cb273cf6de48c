"""Every option, once: the table from which the command line, the ini file and the environment are read.

A field `min_pass_rate` is `--goat-min-pass-rate`, `goat_min_pass_rate` in the ini file and
`GOAT_MIN_PASS_RATE` in the environment; the first of these that is given wins, then the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from pytest_goat.errors import UserError

MODELLESS = ("oracle", "nop")
"""Agents that call no model."""

Parse = Callable[[str], Any]


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def _whole(least: int) -> Parse:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"must be a whole number of at least {least}")
        return number

    return parse


def _positive(what: str) -> Parse:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not (number > 0 and math.isfinite(number)):
            raise ValueError(f"must be a number {what} above 0")
        return number

    return parse


_seconds = _positive("of seconds")


def _seconds_or_none(value: str) -> float:
    return 0.0 if value.strip() in ("0", "0.0") else float(_seconds(value))


def _share(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("must be a number from 0 to 1, as in 0.8")
    return number


def _one_of(*choices: str) -> Parse:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return parse


def _yes(value: str) -> bool:
    if value.lower() not in {"1", "true", "yes", "on", "0", "false", "no", "off", ""}:
        raise ValueError("must be true or false")
    return value.lower() in {"1", "true", "yes", "on"}


def _option(
    default: Any, help: str, parse: Parse = _text, metavar: str | None = None, *, many: bool = False
) -> Any:
    metadata = {"help": help, "parse": parse, "metavar": metavar, "many": many, "flag": parse is _yes}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, eq=False, repr=False)  # made anew in every pytest run: what is not used costs there
class Settings:
    """What the user asked for."""

    model: tuple[str, ...] = _option(
        (),
        "Model to run the tasks with; repeat for several.\n"
        "`replay` (the default) serves recorded turns, `replay:DIR` those of another folder.",
        metavar="NAME",
        many=True,
    )
    agent: str = _option(
        "goat-eval",
        "Agent: goat-eval (default), oracle (runs each task's solution), nop (does nothing),\n"
        "the path of a goat-eval-compatible binary, or of an adapter file (.yaml, .json).",
        metavar="AGENT",
    )
    epochs: int = _option(1, "How often each task is tried (default 1).", _whole(1), "N")
    parallel: int | None = _option(
        None,
        "Trials at once in one process\n(default: by the backend; 1 per worker under -n).",
        _whole(1),
        "N",
    )
    api_url: str | None = _option(
        None,
        "OpenAI-compatible endpoint, as in http://localhost:8000/v1\n"
        "(default: $OPENAI_BASE_URL, else OpenAI's own).",
        metavar="URL",
    )
    api_key_env: str = _option(
        "OPENAI_API_KEY", "Environment variable that holds the endpoint's key.", metavar="NAME"
    )
    model_timeout: float = _option(
        60.0,
        "Seconds without a byte from the model until a call counts as hung (default 60;\n"
        "never more than half of a task's own time).",
        _seconds,
        "SECONDS",
    )
    max_wait: float = _option(
        1800.0,
        "Seconds that rate limits may hold back the model calls of one trial, together; they do\n"
        "not count as the agent's time (default 1800; 0: agents get each refusal).",
        _seconds_or_none,
        "SECONDS",
    )
    retries: int = _option(
        1,
        "How often a trial is tried again after an infrastructure error that came when the\n"
        "model had already been called (default 1; before that: 3 times).",
        _whole(0),
        "N",
    )
    backend: str = _option(
        "auto",
        "Where sandboxes are made: local, modal, or auto (default): modal for a real model\n"
        "where Modal is configured, else local.",
        _one_of("auto", "local", "modal"),
        "NAME",
    )
    modal_env: str = _option(
        "goat", "Modal environment of sandboxes, services and results (default goat).", metavar="NAME"
    )
    deploy: str = _option(
        "auto",
        "Services on Modal: deploy them when they are missing or of another configuration\n"
        "(auto, the default), never, or always.",
        _one_of("auto", "never", "always"),
        "WHEN",
    )
    create_rate: float = _option(
        5.0,
        "Modal sandboxes created per second, by all processes of this machine (default 5).",
        _positive("of sandboxes per second"),
        "RATE",
    )
    models: str | None = _option(
        None, "File with rows of your own for the table of models (infra/models.yaml).", metavar="FILE"
    )
    record: str | None = _option(
        None,
        "Folder for recordings of what the models answer in this run; `--goat-model replay:DIR`\n"
        "serves them.",
        metavar="DIR",
    )
    sandbox: str = _option(
        "auto",
        "Isolation of local sandboxes: auto, ns (namespaces), landlock (default auto).",
        _one_of("auto", "ns", "landlock"),
        "KIND",
    )
    unsafe_local: bool = _option(
        False, "Run agents on this machine even where no isolation is to be had.", _yes
    )
    judge_model: str | None = _option(
        None, "Model that answers the rubrics of `judge` checks.", metavar="NAME"
    )
    max_trial_cost: float | None = _option(
        None,
        "USD that the model calls of one trial may cost; a call beyond it is refused.",
        _positive("of USD"),
        "USD",
    )
    confirm_cost: float | None = _option(
        None,
        "Ask before a run that will probably cost more USD than this, by what the same tasks\n"
        "cost before; without a terminal to ask on, such a run is refused.",
        _positive("of USD"),
        "USD",
    )
    min_pass_rate: float | None = _option(
        None, "Gate: exit with 0 only when the pass rate of all trials is at least this.", _share, "RATE"
    )
    max_errors: int = _option(
        0, "Gate: infrastructure errors that are tolerated (default 0).", _whole(0), "N"
    )
    gate_confidence: float | None = _option(
        None,
        "Gate: decide by the Wilson interval of this confidence, as in 0.95, instead of the\n"
        "observed rate; exit with 6 when the trials are too few to decide.",
        _share,
        "SHARE",
    )
    results: str = _option(
        ".goat/results", "Folder that keeps the results, relative to the rootdir.", metavar="DIR"
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands in the node ids: the models, or the agent's name when it calls none."""
        return (self.agent,) if self.agent in MODELLESS else self.model or ("replay",)


def options() -> tuple[Field[Any], ...]:
    """The rows of the table: name, default, and metadata `help`, `metavar`, `many`, `flag`."""
    return fields(Settings)


def option_name(name: str) -> str:
    return "--goat-" + name.replace("_", "-")


def load(
    command_line: Callable[[str], Any], ini: Callable[[str], Any], environ: Mapping[str, str]
) -> Settings:
    """Read the settings.

    `command_line` and `ini` give what was said for `goat_<name>`: text, a list of texts, a bool, or None.
    Raises `UserError` that names the option, its value, where it was said and what is accepted.
    """
    chosen: dict[str, Any] = {}
    for row in options():
        key = f"goat_{row.name}"
        variable = key.upper()
        for place, said in (
            (option_name(row.name), command_line(key)),
            (f"{variable} in the environment", environ.get(variable)),
            (f"{key} in the ini file", ini(key)),
        ):
            if said is None or said in ("", [], False):
                continue
            chosen[row.name] = _parse(row, place, said)
            break
    return Settings(**chosen)


def _parse(row: Field[Any], place: str, said: Any) -> Any:
    parse: Parse = row.metadata["parse"]
    many: bool = row.metadata["many"]
    values = said if isinstance(said, list) else str(said).replace(",", " ").split() if many else [str(said)]
    try:
        parsed = [parse(str(value)) for value in values]
    except ValueError as error:
        raise UserError(f"{place}: {error}, not {said!r}") from None
    if many:
        return tuple(dict.fromkeys(parsed))
    return parsed[-1]

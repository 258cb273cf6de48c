"""A file of rows -> `Models`; what is wrong with it is told with file, line, key and mend.

The file is one mapping, name of the model -> its row (`ROW`). A later file adds rows, and changes single keys
of earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pytest_goat.collect.documents import read_documents
from pytest_goat.collect.fields import ID
from pytest_goat.collect.kinds import (
    Field,
    Fields,
    Home,
    Number,
    Schema,
    Text,
    Word,
    Yes,
    mapping_schema,
    read_table,
    table,
    want_table,
)
from pytest_goat.collect.problems import Problems, Wrong, key_step
from pytest_goat.collect.values import Table, describe
from pytest_goat.models.fit import GPU_MEMORY
from pytest_goat.models.table import PUBLIC, VLLM, Model, Price, Serving
from pytest_goat.settings import MODELLESS

RESERVED = ("replay", *MODELLESS)
"""Words that `--goat-model` and node ids use for something else."""

PREFIXES = {VLLM: "hosted_vllm"}
"""Provider -> how its routes begin, where that is another word in LiteLLM."""

NEEDED = {"azure": ("api_key", "api_base", "api_version"), VLLM: ("api_key", "api_base")}
"""Provider -> what `env` must name; of the others, `api_key`."""

_COUNT = Number(1, whole=True)
_USD = Number(0, 10_000)
_PROVIDER = Word(re.compile(r"[a-z][a-z0-9_]*"), "a provider is a word of LiteLLM's, as in azure or groq")
_VARIABLE = Word(
    re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "an environment variable is letters, digits and _, as in GROQ_API_KEY",
)
_GPU = Word(re.compile("|".join(map(re.escape, GPU_MEMORY))), f"a GPU is one of {', '.join(GPU_MEMORY)}")


class Day:
    """A date."""

    def read(self, value: Any, home: Home) -> date:
        try:
            return date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            raise Wrong(f"is {describe(value)}", "write a day as in 2027-02-09") from None

    def schema(self) -> Schema:
        return {"type": "string", "format": "date"}


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping of names to texts of one kind."""

    kind: Word | Text
    mend: str

    def read(self, value: Any, home: Home) -> dict[str, str]:
        given = want_table(value, self.mend)
        fields = table(*(Field(key, self.kind, "") for key in given))
        return read_table(given, fields, home, "this mapping")

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": self.kind.schema()}


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with fixed keys, out of which `make` makes a record; `needed` may not be left out."""

    make: Callable[..., Any]
    fields: Fields
    needed: tuple[str, ...]

    def read(self, value: Any, home: Home) -> Any:
        given = want_table(value, f"write {', '.join(f'{name}: ...' for name in self.needed)} below it")
        values = read_table(given, self.fields, home, "this mapping")
        _want(values, self.needed, given.line)
        return self.make(**values)

    def schema(self) -> Schema:
        return mapping_schema(self.fields) | {"required": list(self.needed)}


def _price(input: float, output: float, source: str = "", **special: float) -> Price:
    # What is not said costs as any input.
    return Price(input, output, special.get("cached", input), special.get("cache_write", input), source)


PRICE = table(
    Field("input", _USD, "USD per million tokens of input."),
    Field("output", _USD, "USD per million tokens of output."),
    Field("cached", _USD, "USD per million tokens of input out of the provider's cache (default: input)."),
    Field("cache_write", _USD, "USD per million tokens of input put into it (default: input)."),
    Field("source", Text(), "Who says so."),
)

SERVING = table(
    Field("weights", Text(), "Repository on Hugging Face."),
    Field("revision", Text(), "Its commit."),
    Field("gpu", _GPU, "GPU, as Modal names it."),
    Field("gpus", Number(1, 8, whole=True), "How many GPUs (default 1)."),
    Field("max_model_len", _COUNT, "Tokens of prompt and answer together."),
    Field("max_num_seqs", _COUNT, "Requests at once."),
    Field("tool_parser", Text(), "vLLM's --tool-call-parser."),
    Field("chat_template", Text(), "File of vLLM's examples/ folder (default: the weights' own)."),
    Field("gated", Yes("write true, or leave the key out"), "Needs a Hugging Face token."),
    Field("params", Number(0, 10_000, above=True), "Billions of parameters, all experts counted."),
    Field("weight_bytes", Number(0, 8, above=True), "Bytes per parameter: 2 for bf16, 1 for FP8."),
    Field("layers", _COUNT, "Layers."),
    Field("kv_heads", _COUNT, "Heads of keys and values."),
    Field("head_dim", _COUNT, "Dimensions of a head."),
)

ROW = table(
    Field(
        "provider", _PROVIDER, "Who serves it: azure, groq, openai, anthropic, vllm, or another of LiteLLM."
    ),
    Field("route", Text(), "The model in LiteLLM's words, as in azure/<deployment>."),
    Field(
        "env",
        Pairs(_VARIABLE, "write {api_key: GROQ_API_KEY}"),
        "Parameter of the route -> environment variable that holds it.",
    ),
    Field(
        "defaults",
        Pairs(Text(), "write {NAME: value}"),
        "Environment variable -> what is taken where it is not set.",
    ),
    Field("price", Record(_price, PRICE, ("input", "output")), "What its tokens cost."),
    Field("context", _COUNT, "Tokens that it can hold."),
    Field("max_output", _COUNT, "Tokens of one answer."),
    Field("retires", Day(), "The day from which the provider refuses it."),
    Field("successor", Text(), "What to use instead."),
    Field(
        "vllm",
        Record(
            Serving, SERVING, tuple(key for key in SERVING if key not in ("gpus", "chat_template", "gated"))
        ),
        "How vLLM serves it on Modal.",
    ),
)


def read_rows(path: Path, known: Mapping[str, Model]) -> dict[str, Model]:
    """`known`, with the rows of the file at `path` added, and changed where it has them too.

    Raises `FileErrors` (a `UserError`) that lists all that is wrong with the file.
    """
    problems = Problems(path)
    rows = dict(known)
    try:
        for name, given, line in _tables(path, problems):
            try:
                rows[name] = _row(name, given, known.get(name), Home(path, path.parent))
            except Wrong as wrong:
                problems.add(wrong.below(key_step(name), line))
    except Wrong as wrong:
        problems.add(wrong)
    problems.check()
    return rows


def models_schema() -> Schema:
    """The JSON Schema of such a file."""
    return {"type": "object", "additionalProperties": mapping_schema(ROW)}


def _tables(path: Path, problems: Problems) -> list[tuple[str, Any, int]]:
    documents = read_documents(path, problems)
    if len(documents) > 1:
        raise Wrong("holds several documents", "write one mapping, without `---`")
    given = want_table(documents[0] if documents else Table(1), "write `name: {provider: ..., route: ...}`")
    return [(name, row, given.lines[name]) for name, row in given.items()]


def _row(name: str, value: Any, before: Model | None, home: Home) -> Model:
    ID.read(name, home)
    if name in RESERVED:
        raise Wrong("is a word that --goat-model has for something else", "give the model another name")
    given = want_table(value, "write {provider: ..., route: ..., env: ..., context: ..., max_output: ...}")
    values = {key: getattr(before, key) for key in ROW} if before else {"defaults": {}}
    values |= read_table(given, ROW, home, "a model")
    _want(values, ("provider", "route", "env"), given.line)
    _derive_context(values, given)
    _want(values, ("context", "max_output"), given.line)
    model = Model(name=name, **values)
    _check_route(model)
    _check_variables(model)
    return model


def _derive_context(values: dict[str, Any], given: Table) -> None:
    serving = values.get("vllm")
    if (serving is None) == (values["provider"] == VLLM):
        raise Wrong("`provider: vllm` and `vllm: {...}` go together", "write both, or neither")
    if serving is None:
        return
    for key in ("context", "max_output"):
        if key in given:
            raise Wrong("is said by vllm.max_model_len", "leave it out").below(
                key_step(key), given.lines[key]
            )
        values[key] = serving.max_model_len


def _check_route(model: Model) -> None:
    prefix = PREFIXES.get(model.provider, model.provider)
    if not re.fullmatch(rf"{prefix}/\S+", model.route):
        raise Wrong(f"is {model.route!r}", f"write {prefix}/ and the model's name there").below(".route", 0)


def _check_variables(model: Model) -> None:
    _want(model.env, NEEDED.get(model.provider, ("api_key",)), 0, ".env")
    public = [name for parameter, name in model.env.items() if parameter in PUBLIC]
    for name in model.defaults:
        if name not in public:
            mend = (
                f"keys stand in the environment alone; a default may be given for: {', '.join(public) or '-'}"
            )
            raise Wrong(f"gives {name}", mend).below(".defaults", 0)


def _want(values: Mapping[str, Any], needed: Iterable[str], line: int, field: str = "") -> None:
    if left := [name for name in needed if name not in values]:
        raise Wrong(f"has no {' and no '.join(left)}", "add what is missing", line).below(field, 0)

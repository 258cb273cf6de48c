"""The rows of the table of models."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pytest_goat.errors import UserError

if TYPE_CHECKING:
    from pytest_goat.gateway.base import Usage

NOTICE = timedelta(days=60)
"""How long before its retirement a model is warned of."""

PUBLIC = ("api_base", "api_version")
"""Parameters of a route that are no secrets; every other one is taken for one."""

VLLM = "vllm"
"""The provider of models that are served on Modal by `infra/vllm.py`."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached: float
    """Input that the provider had in its cache."""
    cache_write: float
    """Input that it put there; only Anthropic counts it apart."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """How vLLM serves a model, and the figures from which follows what fits a GPU."""

    weights: str
    """Repository on Hugging Face."""
    revision: str
    gpu: str
    """As Modal names it, without the count."""
    max_model_len: int
    """Tokens of prompt and answer together."""
    max_num_seqs: int
    """Requests at once."""
    tool_parser: str
    params: float
    """Billions of parameters; of a mixture of experts all of them."""
    weight_bytes: float
    """Bytes per parameter: 2 for bf16, 1 for FP8."""
    layers: int
    kv_heads: int
    head_dim: int
    gpus: int = 1
    """How many of them, in one container."""
    chat_template: str = ""
    """File of vLLM's `examples/` folder; "" for the one that comes with the weights."""
    gated: bool = False
    """Given out only to accounts that accepted the licence: needs a Hugging Face token."""


@dataclass(frozen=True, slots=True)
class Model:
    """One row: what `--goat-model` may name, and how it is reached."""

    name: str
    provider: str
    route: str
    """The model in LiteLLM's words: `azure/<deployment>`, `groq/<model>`."""
    env: Mapping[str, str]
    """Parameter of the route (`api_key`, `api_base`, `api_version`) -> environment variable that holds it."""
    context: int
    """Tokens of input, or of input and answer together, as the provider counts."""
    max_output: int
    """Tokens of one answer."""
    defaults: Mapping[str, str]
    """Environment variable -> what is taken where it is not set."""
    price: Price | None = None
    """None: nobody said one."""
    retires: date | None = None
    """From this day on the provider refuses it."""
    successor: str = ""
    """What to use instead, in words; "" when nobody said."""
    vllm: Serving | None = None

    def missing(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The environment variables that must still be set."""
        return tuple(
            name for name in self.env.values() if not environ.get(name) and name not in self.defaults
        )

    def usable(self, environ: Mapping[str, str], today: date) -> bool:
        """Whether it can be called now, as far as can be told without calling it."""
        return not self.missing(environ) and not self.retired(today)

    def values(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment variables that its route reads, with their values, as far as they are known."""
        found = {name: environ.get(name) or self.defaults.get(name, "") for name in self.env.values()}
        return {name: value for name, value in found.items() if value}

    def secrets(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The values that nobody may see."""
        names = (name for parameter, name in self.env.items() if parameter not in PUBLIC)
        return tuple(environ[name] for name in names if environ.get(name))

    def cost(self, usage: Usage) -> float | None:
        """USD for the tokens of `usage`; None where the row has no price.

        What a provider charges apart for writing into its cache cannot be told from `usage`: it is counted
        as input.
        """
        if self.price is None:
            return None
        fresh = max(0, usage.prompt_tokens - usage.cached_tokens)
        dollars = (
            fresh * self.price.input
            + usage.cached_tokens * self.price.cached
            + usage.completion_tokens * self.price.output
        )
        return dollars / 1e6

    def retired(self, today: date) -> bool:
        return self.retires is not None and self.retires <= today

    def notice(self, today: date) -> str:
        """What to know of its retirement: "" until `NOTICE` before it."""
        if self.retires is None or today < self.retires - NOTICE:
            return ""
        instead = f": use {self.successor}" if self.successor else ""
        return f"{'retired' if self.retired(today) else 'retires'} {self.retires}{instead}"


@dataclass(frozen=True, slots=True)
class Models:
    """The whole table, in the order of its files."""

    rows: Mapping[str, Model]

    def __iter__(self) -> Iterator[Model]:
        return iter(self.rows.values())

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def notices(self, names: Iterable[str], today: date) -> list[str]:
        """A line for each of the rows `names` that has retired, or will within `NOTICE`."""
        found = ((name, self.rows[name].notice(today)) for name in names)
        return [f"{name} {notice}" for name, notice in found if notice]

    def get(self, name: str) -> Model:
        """The row of `name`. Raises `UserError` that names those which are near."""
        if name in self.rows:
            return self.rows[name]
        near = difflib.get_close_matches(name, self.rows, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UserError(
            f"There is no model '{name}' in the table. {hint}`goat models` lists all; "
            "rows of your own: --goat-models FILE."
        )

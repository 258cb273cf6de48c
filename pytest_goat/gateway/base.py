"""What a gateway is, and the record it keeps of a trial: how any agent, even a silent one, has usage,
and how an infrastructure error is told from a wrong answer.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_goat.errors import Cause

if TYPE_CHECKING:
    from pytest_goat.gateway.heard import Heard


COST_PLACES = 12
"""Decimal places of USD to which sums of costs are rounded: no price is finer than 10^-12 USD a token. So a
sum is the exact decimal one, in whatever order it is made, up to 2,000 USD.
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money. Sums with `+`."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None
    """USD, of the calls whose cost somebody told; None where nobody did for any."""
    cost_source: str = field(default="", compare=False)
    """Who said the cost: `answer` (the provider or LiteLLM, in its answer), `table` (`infra/models.yaml`), or
    `answer+table` for a sum of both; "" where nobody did.
    """
    unpriced: int = 0
    """Calls that may have cost something of which nobody told: they broke off before their usage came, or
    their model has no price.
    """

    def __add__(self, other: Usage) -> Usage:
        costs = [usage.cost for usage in (self, other) if usage.cost is not None]
        sources = {*self.cost_source.split("+"), *other.cost_source.split("+")} - {""}
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            round(sum(costs), COST_PLACES) if costs else None,
            "+".join(sorted(sources)),
            self.unpriced + other.unpriced,
        )


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request of the agent, as the proxy saw it."""

    started: float
    """Seconds after the trial's endpoint was opened."""
    duration: float
    """Seconds until the last byte, the error, or the agent's hanging up."""
    first_byte: float | None
    """Seconds until the first byte of the answer's body."""
    status: int
    """HTTP status that the agent got; 0 when there was no answer."""
    cause: Cause | None
    """None when the call ended well: a whole answer of whatever worth."""
    message: str
    """The error in words, at most 500 characters, secrets taken out; "" when there is none."""
    model_asked: str
    model_served: str
    finish_reason: str
    """As the provider said it; "" when it said none."""
    tool_calls: int
    """Tool calls in the answer."""
    usage: Usage
    hung_up: bool = False
    """The agent went away before the answer ended (it was killed, or lost patience)."""
    waited: float = 0.0
    """Seconds, the first ones of `duration`, in which a rate limit held it back."""
    refusals: int = 0
    """How often the provider put it off for its rate; what became of it otherwise is told above."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Calls that a rate limit holds back now."""

    model: str
    calls: int
    seconds: float
    """Until the next of them may go, as far as is known."""


def union(spans: Iterable[tuple[float, float]]) -> float:
    """The length of all spans (start, end) together: what they share counts once."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def seconds_waited(calls: Iterable[ModelCall]) -> float:
    """Seconds in which a rate limit held back one of `calls` or more."""
    return union((call.started, call.started + call.waited) for call in calls if call.waited)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the gateway saw of one trial, in the order in which the calls ended."""

    calls: tuple[ModelCall, ...] = ()
    usage: Usage = Usage()
    heard: tuple[Heard, ...] = ()
    """What was answered, in the order in which it was asked; () where nobody wants to record it."""

    @property
    def last(self) -> ModelCall | None:
        return self.calls[-1] if self.calls else None

    @property
    def turns(self) -> int:
        """Answers that came whole: what a turn limit counts."""
        return sum(1 for call in self.calls if call.cause is None and not call.hung_up)

    @property
    def retries(self) -> int:
        """Calls that came after one that ended badly."""
        return sum(1 for before in self.calls[:-1] if before.cause is not None)


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Who calls: what an endpoint is bound to."""

    run_id: str
    trial_id: str
    task_id: str
    model: str
    """The model as the user named it; the only one this trial may ask for."""
    suite_root: Path | None = None
    """Where recordings stand; None for a task outside any suite."""
    lifetime: float = 3600.0
    """Seconds, from the opening of its endpoint, after which its token is worth nothing."""
    recording: str = ""
    """Where a deployed gateway holds its recording; "" where recordings are read from the disk."""
    epoch: int = 1
    attempt: str = ""
    """Tells the attempts of a trial apart, where one process serves all calls of each."""
    record: bool = False
    """Whether the answers are to be kept, in `Seen.heard`."""
    max_cost: float | None = None
    """USD: a call that begins when the trial has spent as much is refused. None: any."""
    max_wait: float = 0.0
    """Seconds that rate limits may hold its calls back, together. 0: what a provider refuses is passed on."""


class Endpoint(Protocol):
    """The gateway as one trial has it."""

    @property
    def base_url(self) -> str:
        """What goes into OPENAI_BASE_URL. Known once the sandbox is open."""

    @property
    def api_key(self) -> str:
        """What goes into OPENAI_API_KEY: this trial's own token, or a placeholder where none is needed."""

    def attach(self, listener: socket.socket, private: bool) -> None:
        """Serve on a socket that the sandbox made (`pytest_goat.sandbox.base.Attach`)."""

    def set_workdir(self, workdir: str) -> None:
        """Where the trial's workspace is inside its sandbox: recordings say `{workdir}`."""

    async def ask(self, prompt: str) -> str:
        """The model's text for one prompt of the harness itself (the judge check); recorded as any call.

        Failures that may pass are tried again. Raises `GatewayError` with the cause.
        """

    async def seen(self) -> Seen:
        """What it saw so far, calls under way included (as hung up)."""

    async def waited(self) -> float:
        """Seconds in which a rate limit has held back calls of this trial so far, one or more at once.

        Raises `GatewayError` where that cannot be known.
        """

    async def close(self) -> None:
        """Answer nothing from now on. Never raises; may be called twice."""


class Gateway(Protocol):
    """The way to models. One per process; serves many trials at once."""

    @property
    def name(self) -> str:
        """`replay`, `direct`, ..."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that a sandbox in the cloud must reach; () where each sandbox has its own listener."""

    async def start(self) -> None:
        """Get ready."""

    def handover(self) -> dict[str, str]:
        """What the gateways of other processes of this run need not make again; after `start`. Secret."""

    async def preflight(self, model: str, keys: list[TrialKey]) -> None:
        """Find out cheaply whether `model` can serve these trials.

        Raises `UserError` with what is wrong (name, key, address, tool calling, a recording that is not
        there) and what to do.
        """

    def open(self, key: TrialKey, model_timeout: float | None = None) -> Endpoint:
        """Give a trial its endpoint; called on the gateway's loop.

        `model_timeout`: seconds without a byte from the model after which a call ends, where the trial wants
        less than the gateway's own.
        """

    def waiting(self) -> Sequence[Waiting]:
        """What rate limits hold back now, as far as is known here; may be called from any thread."""

    async def stop(self) -> None:
        """Close every endpoint and connection."""

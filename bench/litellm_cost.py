"""What our part adds to a call of a model through the real LiteLLM, over calling LiteLLM alone.

LiteLLM runs as it does in a run of trials, with the settings of `infra/litellm.yaml`; the proxy of one trial
is in front of it; both are processes of their own, as are the provider behind them and the callers. The call
is that of `proxy_cost`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import yaml

from bench.base import Options, Row
from bench.proxy_cost import (
    ANSWER,
    KEY,
    MODEL,
    PARTS,
    added,
    kept,
    median_ms,
    per_second,
    process,
    read_request,
    serve_trial,
    serve_upstream,
)
from pytest_goat.gateway.litellm import LiteLLMUpstream, Running
from pytest_goat.gateway.litellm_process import LiteLLMProcess
from pytest_goat.gateway.proxy import ProxyGateway
from pytest_goat.models import load_models

PAUSE = 0.02
"""Seconds that a provider which streams slowly takes after its first token."""
WARM_UP = 100
"""Calls after which LiteLLM is as quick as it gets."""
FIRST_TOKEN = b"word "
ROW = {
    "provider": "openai",
    "route": f"openai/{MODEL}",
    "env": {"api_key": "BENCH_KEY", "api_base": "BENCH_URL"},
    "price": {"input": 1, "output": 2, "source": "bench"},
    "context": 100_000,
    "max_output": 20_000,
}


@dataclass(frozen=True, slots=True)
class Started:
    """A LiteLLM that runs, and what a process needs to be a proxy in front of it."""

    running: Running
    table: Path
    environ: Mapping[str, str]

    @property
    def port(self) -> int:
        return int(self.running.url.rpartition(":")[2].partition("/")[0])


def serve_slowly(ready: Connection, _: None) -> None:
    """A provider whose answers take `PAUSE` after the first token."""
    head = ANSWER.index(PARTS[0]) + len(PARTS[0]) + 2

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_request(reader)
                writer.write(ANSWER[:head])
                await asyncio.sleep(PAUSE)
                writer.write(ANSWER[head:])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def serve_proxy(ready: Connection, litellm: Started) -> None:
    """The proxy of one trial, in front of LiteLLM."""

    async def main() -> None:
        models = load_models(litellm.table)
        upstream = LiteLLMUpstream(models, [MODEL], litellm.running, litellm.environ)
        await serve_trial(ProxyGateway({MODEL: upstream}, 60.0), ready)

    asyncio.run(main())


@contextmanager
def litellm_before(provider: int) -> Iterator[Started]:
    """Run LiteLLM in front of the provider at a port of this machine."""
    environ = {"BENCH_KEY": KEY, "BENCH_URL": f"http://127.0.0.1:{provider}/v1"}
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch, "models.yaml")
        table.write_text(yaml.safe_dump({MODEL: ROW}))
        server = LiteLLMProcess([load_models(table).get(MODEL)], environ, Path(scratch))
        asyncio.run(server.start())
        try:
            started = Started(Running(server.url, server.key), table, environ)
            median_ms(started.port, WARM_UP, key=server.key)
            yield started
        finally:
            asyncio.run(server.stop())


def measure(options: Options) -> Iterator[Row]:
    if importlib.util.find_spec("litellm") is None:
        print("LiteLLM is not measured: pip install 'pytest-goat[gateway]'", file=sys.stderr)
        return
    calls = 200 if options.quick else 500
    with (
        process(serve_upstream, 0.0) as provider,
        litellm_before(provider) as litellm,
        process(serve_proxy, litellm) as proxy,
    ):
        key = litellm.running.key
        alone, behind = partial(median_ms, litellm.port, key=key), partial(median_ms, proxy)
        yield added("litellm: added for one caller", alone, behind, calls)
        many, many_behind = partial(per_second, litellm.port, key=key), partial(per_second, proxy)
        yield kept("litellm", many, many_behind, calls, "upstream: LiteLLM, one worker")
    with (
        process(serve_slowly, None) as provider,
        litellm_before(provider) as litellm,
        process(serve_proxy, litellm) as proxy,
    ):
        first = partial(median_ms, litellm.port, key=litellm.running.key, until=FIRST_TOKEN)
        yield added(
            "litellm: first token later by", first, partial(median_ms, proxy, until=FIRST_TOKEN), calls
        )

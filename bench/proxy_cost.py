"""What our proxy adds to a model call, and how much of its upstream's throughput it keeps.

Upstream, proxy and callers are processes of their own on loopback. A call is what goat-eval sends first
(35 kB) and a streamed answer of 20 chunks. The upstream for one caller answers at once; the one for many is a
LiteLLM in front of that, or what stands for it: it answers one call after another, with `CPU` seconds of work
for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from bench.base import Budget, Options, Row
from bench.processes import environment, venv_with
from bench.timing import interleaved, medians
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import TrialKey

CALLERS = 64
CPU = 0.008
"""Seconds; a LiteLLM worker takes about as much."""
LITELLM = "litellm[proxy]==1.106.2"
STARTS_WITHIN = 120.0
"""Seconds."""
MODEL = "bench-model"
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
T = TypeVar("T")


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %s\n\n" % json.dumps({"id": "x", "model": MODEL, "choices": [choice]}).encode()


USAGE = {"choices": [], "usage": {"prompt_tokens": 9000, "completion_tokens": 20}}
EVENTS = [
    *[chunk({"content": "word "})] * 20,
    chunk({}, "stop"),
    b"data: %s\n\n" % json.dumps(USAGE).encode(),
]
PARTS = [*EVENTS, b"data: [DONE]\n\n"]
ANSWER = b"".join(
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        *(b"%x\r\n%b\r\n" % (len(part), part) for part in PARTS),
        b"0\r\n\r\n",
    ]
)
BODY = json.dumps(
    {
        "model": MODEL,
        "messages": [{"role": "system", "content": "x" * 22_000}, {"role": "user", "content": "Do it."}],
        "tools": [
            {"type": "function", "function": {"name": f"t{n}", "description": "y" * 2000}} for n in range(6)
        ],
        "max_tokens": 16384,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
).encode()
REQUEST = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY


async def read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"\ncontent-length: *(\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)


def serve_upstream(ready: Connection, cpu: float) -> None:
    """Answer for ever, with `cpu` seconds of work for each call."""

    async def main() -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await read_request(reader)
                    done = time.thread_time() + cpu
                    while time.thread_time() < done:
                        pass
                    writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def serve_proxy(ready: Connection, upstream: int) -> None:
    """Serve one trial for ever."""

    async def main() -> None:
        gateway = make_gateway([MODEL], f"http://127.0.0.1:{upstream}/v1", KEY)
        await gateway.start()
        endpoint = gateway.open(TrialKey("run", "trial", "task", MODEL))
        listener = socket.create_server(("127.0.0.1", 0), backlog=CALLERS)
        endpoint.attach(listener, True)
        ready.send(listener.getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextlib.contextmanager
def process(target: Callable[[Connection, T], None], argument: T) -> Iterator[int]:
    """Run a server in a process of its own; gives its port."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Pipe()
    server = context.Process(target=target, args=(told, argument), daemon=True)
    server.start()
    try:
        yield ready.recv()
    finally:
        server.terminate()
        server.join()


@contextlib.contextmanager
def litellm(upstream: int) -> Iterator[int]:
    """Run a LiteLLM proxy with one worker in front of `upstream`; gives its port."""
    programs = venv_with(LITELLM)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    route = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "unused"}
    with tempfile.TemporaryDirectory() as scratch:
        config, log = Path(scratch, "config.yaml"), Path(scratch, "log.txt")
        config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": route}]}))
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "litellm", "--config", config, "--host", "127.0.0.1", "--port", str(port)],
                cwd=scratch,
                env={**environment(), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY},
                stdout=output,
                stderr=output,
            )
        try:
            if not listens(port, server):
                sys.exit(f"LiteLLM does not start:\n{log.read_text()[-4000:]}")
            yield port
        finally:
            server.terminate()
            server.wait()


def listens(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until a server takes connections; False when it will not."""
    until = time.monotonic() + STARTS_WITHIN
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.2)
        else:
            return True
    return False


async def call_often(port: int, calls: int) -> list[float]:
    """The seconds that each of `calls` takes, one after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        writer.write(REQUEST)
        answer = await reader.readuntil(b"\r\n0\r\n\r\n")
        taken.append(time.perf_counter() - started)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    writer.close()
    await writer.wait_closed()
    return taken


def median_ms(port: int, calls: int) -> float:
    return statistics.median(asyncio.run(call_often(port, calls))) * 1000


def per_second(port: int, calls: int) -> float:
    """Calls a second of `CALLERS` at once."""

    async def all_callers() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(call_often(port, max(1, calls // CALLERS)) for _ in range(CALLERS)))
        return time.perf_counter() - started

    return max(1, calls // CALLERS) * CALLERS / asyncio.run(all_callers())


def measure(options: Options) -> Iterator[Row]:
    calls = 200 if options.quick else 500
    with process(serve_upstream, 0.0) as fast:
        yield added(fast, calls)
        if options.litellm:
            with litellm(fast) as port:
                yield kept(port, calls, LITELLM)
            return
    with process(serve_upstream, CPU) as busy:
        yield kept(busy, calls, f"what stands for LiteLLM, {CPU * 1000:g} ms of CPU a call")


def added(upstream: int, calls: int) -> Row:
    """What a call through the proxy takes longer than without it, for one caller."""
    with process(serve_proxy, upstream) as proxy:
        kinds = {
            "alone": partial(median_ms, upstream, calls // 5),
            "behind": partial(median_ms, proxy, calls // 5),
        }
        interleaved(kinds, 1)
        taken = medians(interleaved(kinds, 5))
    note = f"a call takes {taken['behind']:.2f} ms, without the proxy {taken['alone']:.2f} ms"
    return Row("proxy: added for one caller", taken["behind"] - taken["alone"], "ms", Budget("<", 3), note)


def kept(upstream: int, calls: int, name: str) -> Row:
    """The share of the upstream's own throughput that many callers have through the proxy."""
    with process(serve_proxy, upstream) as proxy:
        kinds = {"alone": partial(per_second, upstream, calls), "behind": partial(per_second, proxy, calls)}
        interleaved(kinds, 1)
        rates = medians(interleaved(kinds, 3))
    note = f"{rates['behind']:.0f} calls a second, without the proxy {rates['alone']:.0f}; upstream: {name}"
    share = rates["behind"] / rates["alone"]
    return Row(f"proxy: throughput kept, {CALLERS} callers", share, "x", Budget(">=", 0.95), note)
